// PNG files, with each value as it is. A 2D canvas multiplies colours by alpha and so loses some when it writes. When
// it reads, a grey picture becomes RGBA, which takes twice as long as reading it here.

const SIGNATURE = Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10);
const CHANNELS = 4;
const RGBA = 6;
const [SUB, UP, AVERAGE, PAETH] = [1, 2, 3, 4]; // filters of rows

const IDAT = 0x49444154;

const CRCS = Uint32Array.from({ length: 256 }, (_, index) => {
  let crc = index;
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? 0xedb88320 ^ (crc >>> 1) : crc >>> 1;
  return crc;
});

/** Write RGBA pixels as a PNG. */
export async function encodePng({ width, height, data }) {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, RGBA, 0, 0, 0], 8);
  const stream = new Blob([filtered(width, height, data)]).stream().pipeThrough(new CompressionStream("deflate"));
  const packed = new Uint8Array(await new Response(stream).arrayBuffer());
  const chunks = [chunk("IHDR", header), chunk("IDAT", packed), chunk("IEND", new Uint8Array(0))];
  return new Blob([SIGNATURE, ...chunks], { type: "image/png" });
}

/** Read the bytes of a PNG of 8-bit grey: {bytes, width, height}. */
export async function decodeGreyPng(file) {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  const [depth, colours, interlaced] = [file[24], file[25], file[28]];
  if (depth !== 8 || colours !== 0 || interlaced) throw new Error("the alpha is no PNG of 8-bit grey");
  const stream = new DecompressionStream("deflate");
  const writer = stream.writable.getWriter();
  const written = [];
  for (let at = SIGNATURE.length; at < file.length; ) {
    const length = view.getUint32(at);
    const isData = view.getUint32(at + 4) === IDAT;
    if (isData) written.push(writer.write(file.subarray(at + 8, at + 8 + length)));
    at += length + 12;
  }
  const rows = new Uint8Array((width + 1) * height);
  const [, end] = await Promise.all([Promise.all([...written, writer.close()]), collect(stream.readable, rows)]);
  if (end !== rows.length) throw new Error("the alpha is incomplete");
  return { bytes: unfiltered(rows, width, height), width, height };
}

async function collect(stream, to) {
  const reader = stream.getReader();
  let at = 0;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return at;
    to.set(value, at);
    at += value.length;
  }
}

function unfiltered(rows, width, height) {
  const grey = new Uint8Array(width * height);
  let above = new Uint8Array(width);
  for (let y = 0, from = 0; y < height; y += 1) {
    const filter = rows[from];
    const row = grey.subarray(y * width, (y + 1) * width);
    row.set(rows.subarray(from + 1, from + 1 + width));
    from += width + 1;
    if (filter === SUB) for (let x = 1; x < width; x += 1) row[x] += row[x - 1];
    else if (filter === UP) for (let x = 0; x < width; x += 1) row[x] += above[x];
    else if (filter === AVERAGE) for (let x = 0; x < width; x += 1) row[x] += ((x ? row[x - 1] : 0) + above[x]) >> 1;
    else if (filter === PAETH) for (let x = 0, left = 0, corner = 0; x < width; x += 1) {
      left = (row[x] + paeth(left, above[x], corner)) & 255;
      row[x] = left;
      corner = above[x];
    }
    above = row;
  }
  return grey;
}

/** The neighbour that is nearest to left + above - corner. */
function paeth(left, above, corner) {
  const dl = Math.abs(above - corner);
  const da = Math.abs(left - corner);
  const dc = Math.abs(left + above - 2 * corner);
  return dl <= da && dl <= dc ? left : da <= dc ? above : corner;
}

/** Each row as differences to its neighbours, which are easier to compress. */
function filtered(width, height, data) {
  const stride = width * CHANNELS;
  const rows = new Uint8Array((stride + 1) * height);
  for (let y = 0, to = 0, from = 0; y < height; y += 1) {
    rows[to] = PAETH;
    to += 1;
    for (let x = 0; x < stride; x += 1, to += 1, from += 1) {
      const left = x < CHANNELS ? 0 : data[from - CHANNELS];
      const above = y === 0 ? 0 : data[from - stride];
      const corner = x < CHANNELS || y === 0 ? 0 : data[from - stride - CHANNELS];
      rows[to] = data[from] - paeth(left, above, corner);
    }
  }
  return rows;
}

function chunk(name, data) {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  for (let i = 0; i < 4; i += 1) bytes[4 + i] = name.charCodeAt(i);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crcOf(bytes.subarray(4, 8 + data.length)));
  return bytes;
}

function crcOf(bytes) {
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i += 1) crc = CRCS[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}
