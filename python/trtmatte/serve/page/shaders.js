// The programs of the compositor. Each is one triangle that covers its target.

/** `at` is the place in the frame, `behind` that in the background; (0, 0) is the first pixel of the first row. */
export const VERTEX = `#version 300 es
uniform bool firstRowOnTop, mirrorFrame, mirrorBackground;
out vec2 at, behind;
void main() {
  vec2 corner = vec2(gl_VertexID == 1 ? 2. : 0., gl_VertexID == 2 ? 2. : 0.);
  gl_Position = vec4(corner * 2. - 1., 0., 1.);
  at = behind = vec2(corner.x, firstRowOnTop ? 1. - corner.y : corner.y);
  if (mirrorFrame) at.x = 1. - at.x;
  if (mirrorBackground) behind.x = 1. - behind.x;
}`;

const HEAD = `#version 300 es
precision highp float;
in vec2 at, behind;
out vec4 result;
`;

const SOURCES = {
  planes: `
uniform sampler2D luma, blue, red;
uniform mat3 toRgb;
uniform vec3 zero;
vec3 colourOf(vec2 place) {
  vec3 sampled = vec3(texture(luma, place).r, texture(blue, place).r, texture(red, place).r);
  return clamp(toRgb * (sampled - zero), 0., 1.);
}`,
  picture: `
uniform sampler2D picture;
vec3 colourOf(vec2 place) { return texture(picture, place).rgb; }`,
};

const ENDINGS = {
  // What a canvas wants: colours multiplied by alpha.
  none: "result = vec4(subject * a, a);",
  // What a file wants: colours as they are. Where nothing of the subject is there is no colour, so the room stays out.
  straight: "result = vec4(a > 0. ? subject : vec3(0.), a);",
  colour: "result = vec4(mix(fill, subject, a), 1.);",
  picture: "result = vec4(mix(texture(background, behind).rgb, subject, a), 1.);",
  blur: "vec4 soft = texture(background, behind); result = vec4(mix(soft.rgb / soft.a, subject, a), 1.);",
};

/** Put the subject over a background. */
export function compositeShader(source, ending) {
  return `${HEAD}${SOURCES[source]}
uniform sampler2D alpha, background;
uniform vec3 fill;
void main() {
  float a = texture(alpha, at).r;
  vec3 subject = colourOf(at);
  ${ENDINGS[ending]}
}`;
}

/** Make the frame small, for the blur. Each pixel weighs what shows of the background, or the subject would glow. */
export function shrinkShader(source) {
  return `${HEAD}${SOURCES[source]}
uniform sampler2D alpha;
uniform vec2 block;
void main() {
  vec4 sum = vec4(0.);
  for (int i = 0; i < 16; i += 1) {
    vec2 place = at + block * ((vec2(i % 4, i / 4) + .5) / 4. - .5);
    float weight = 1. - .97 * texture(alpha, place).r;
    sum += vec4(colourOf(place) * weight, weight);
  }
  result = sum / 16.;
}`;
}

/** Blur in one direction. */
export const SOFTEN = `${HEAD}
uniform sampler2D picture;
uniform vec2 step;
uniform float sigma;
void main() {
  vec4 sum = vec4(0.);
  float weights = 0.;
  int reach = int(ceil(2.5 * sigma));
  for (int i = -reach; i <= reach; i += 1) {
    float weight = exp(-.5 * float(i * i) / (sigma * sigma));
    sum += weight * texture(picture, at + float(i) * step);
    weights += weight;
  }
  result = sum / weights;
}`;
