// The binary messages of /api/live. All numbers are little-endian.

export const FRAME_HEADER = 16;
export const ANSWER_HEADER = 24;

/** Write the header of a frame into the first bytes of its message. */
export function writeFrameHeader(message, { number, key, matrix, range, width, height }) {
  const view = new DataView(message.buffer, message.byteOffset, FRAME_HEADER);
  view.setUint32(0, number, true);
  view.setUint8(4, key ? 1 : 0);
  view.setUint8(5, matrix);
  view.setUint8(6, range);
  view.setUint8(7, 0);
  view.setUint16(8, width, true);
  view.setUint16(10, height, true);
  view.setUint32(12, 0, true);
}

/** Read the server's answer to a frame. */
export function readAnswer(buffer) {
  const view = new DataView(buffer);
  const alphaBytes = view.getUint32(12, true);
  const foregroundBytes = view.getUint32(16, true);
  return {
    number: view.getUint32(0, true),
    dropped: view.getUint8(4) === 1,
    isPng: view.getUint8(5) === 1,
    width: view.getUint16(8, true),
    height: view.getUint16(10, true),
    networkMs: view.getFloat32(20, true),
    alpha: new Uint8Array(buffer, ANSWER_HEADER, alphaBytes),
    foreground: new Uint8Array(buffer, ANSWER_HEADER + alphaBytes, foregroundBytes),
  };
}
