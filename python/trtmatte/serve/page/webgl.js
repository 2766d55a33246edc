// Textures, targets and programs of WebGL 2, with only what the compositor needs.

/** A texture that takes bytes ("grey", one channel) or pictures, and is stored anew only when its size changes. */
export class Texture {
  width = 0;
  height = 0;
  #gl;
  #isGrey;
  #isSmooth = false;

  constructor(gl, kind) {
    this.#gl = gl;
    this.#isGrey = kind === "grey";
    this.texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, this.texture);
    for (const side of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, side, gl.CLAMP_TO_EDGE);
    this.#filter(gl.NEAREST);
  }

  /** Sample between pixels, for a texture of another size than the frame. */
  smooth(isSmooth) {
    if (isSmooth === this.#isSmooth) return;
    this.#isSmooth = isSmooth;
    this.#gl.bindTexture(this.#gl.TEXTURE_2D, this.texture);
    this.#filter(isSmooth ? this.#gl.LINEAR : this.#gl.NEAREST);
  }

  bytes(bytes, width, height, offset = 0) {
    this.#upload(width, height, (...place) => [...place, bytes, offset]);
  }

  picture(picture, width, height) {
    this.#upload(width, height, (...place) => [...place, picture]);
  }

  #upload(width, height, arguments_) {
    const gl = this.#gl;
    const [store, format] = this.#isGrey ? [gl.R8, gl.RED] : [gl.RGBA, gl.RGBA];
    gl.bindTexture(gl.TEXTURE_2D, this.texture);
    if (width === this.width && height === this.height) {
      gl.texSubImage2D(gl.TEXTURE_2D, 0, ...arguments_(0, 0, width, height, format, gl.UNSIGNED_BYTE));
    } else {
      gl.texImage2D(gl.TEXTURE_2D, 0, store, ...arguments_(width, height, 0, format, gl.UNSIGNED_BYTE));
      this.width = width;
      this.height = height;
    }
  }

  #filter(filter) {
    const gl = this.#gl;
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, filter);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, filter);
  }
}

/** A texture to draw into. */
export class Target {
  #gl;

  constructor(gl, width, height) {
    this.#gl = gl;
    this.width = width;
    this.height = height;
    this.texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, this.texture);
    gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA8, width, height);
    for (const side of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, side, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
    this.framebuffer = gl.createFramebuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.framebuffer);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.texture, 0);
  }

  delete() {
    this.#gl.deleteFramebuffer(this.framebuffer);
    this.#gl.deleteTexture(this.texture);
  }
}

export function buildProgram(gl, vertex, fragment) {
  const program = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
    gl.deleteShader(shader); // with the program
  }
  gl.linkProgram(program);
  return new Program(gl, program);
}

class Program {
  #gl;
  #program;
  #places = new Map();
  #unit = 0;

  constructor(gl, program) {
    this.#gl = gl;
    this.#program = program;
  }

  use() {
    this.#gl.useProgram(this.#program);
    this.#unit = 0;
  }

  texture(name, { texture }) {
    const gl = this.#gl;
    gl.activeTexture(gl.TEXTURE0 + this.#unit);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.uniform1i(this.#place(name), this.#unit);
    gl.activeTexture(gl.TEXTURE0);
    this.#unit += 1;
  }

  number(name, value) {
    this.#gl.uniform1f(this.#place(name), value);
  }

  flag(name, value) {
    this.#gl.uniform1i(this.#place(name), value ? 1 : 0);
  }

  vector(name, value) {
    this.#gl[`uniform${value.length}fv`](this.#place(name), value);
  }

  matrix(name, value) {
    this.#gl.uniformMatrix3fv(this.#place(name), false, value);
  }

  #place(name) {
    if (!this.#places.has(name)) this.#places.set(name, this.#gl.getUniformLocation(this.#program, name));
    return this.#places.get(name);
  }
}
