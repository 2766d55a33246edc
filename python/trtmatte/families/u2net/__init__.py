"""U-2-Net and U-2-NetP: one picture in, one alpha out."""
