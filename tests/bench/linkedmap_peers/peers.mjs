// The same points in the peers of the linked map, one panel each, and the time that each takes to light one of them.
// Both are asked at the beginning of a frame, before their own callbacks, so that no waiting for a frame is counted as theirs.
// Two times each: until they say that it is drawn ("drawing", the promise of restyle), and until the lit pixel is read back, as for
// the linked map.
import createScatterplot from "regl-scatterplot";

const COLOURS = ["#2f6fb5", "#d1495b", "#3a7d44", "#8e5ea2", "#b5651d", "#4c9f9f", "#7f7f7f", "#c06c84", "#6c8ebf"];
const MARK = "#ffd400";
let wake = null;
const loop = () => {
  requestAnimationFrame(loop);
  const go = wake;
  wake = null;
  go?.();
};
requestAnimationFrame(loop);
const beginFrame = () => new Promise((done) => { wake = done; });
const isMark = ([r, g, b]) => r > 200 && g > 150 && g < 235 && b < 100;

// x and y from 0 to 1.
async function regl({ x, y, group, size }) {
  const canvas = document.createElement("canvas");
  canvas.style.cssText = `display: block; width: ${size}px; height: ${size}px`;
  document.body.append(canvas);
  const plot = createScatterplot({ canvas, width: size, height: size, pointSize: 3, pointColor: COLOURS, colorBy: "valueA",
    pointColorActive: COLOURS.map(() => MARK), pointColorHover: COLOURS.map(() => MARK), opacity: 1, backgroundColor: "#ffffff" });
  const unit = (v) => v.map((o) => 1.9 * o - 0.95);
  await plot.draw({ x: unit(x), y: unit(y), valueA: group });
  await beginFrame();
  const lit = (i) => {
    const [px, py] = plot.getScreenPosition(i), scale = canvas.width / size;
    return isMark(canvas.getContext("2d").getImageData(Math.round(px * scale), Math.round(py * scale), 1, 1).data);
  };
  const drawn = () => new Promise((done) => plot.subscribe("drawing", done, 1));   // "draw" follows it without a wait
  return async (i) => {
    await beginFrame();
    if (lit(i)) return null;
    const begin = performance.now(), ready = drawn();
    plot.hover(i);
    await ready;
    const said = performance.now() - begin, shown = lit(i), time = performance.now() - begin;
    plot.hover(-1);
    await drawn();
    return [said, shown ? time : NaN];
  };
}

async function plotly({ x, y, group, size }) {
  const div = document.createElement("div");
  document.body.append(div);
  const low = -0.03, high = 1.03, axis = { range: [low, high], visible: false };
  const points = { type: "scattergl", mode: "markers", x, y, marker: { size: 4, color: group.map((g) => COLOURS[g]) } };
  const one = { type: "scattergl", mode: "markers", x: [2 * high], y: [2 * high], marker: { size: 14, color: MARK } };
  await Plotly.newPlot(div, [points, one], { width: size, height: size, margin: { l: 0, r: 0, t: 0, b: 0 }, xaxis: { ...axis },
    yaxis: { ...axis }, hovermode: false, showlegend: false }, { displayModeBar: false });
  const canvas = div.querySelector(".gl-canvas-context"), gl = canvas.getContext("webgl"), pixel = new Uint8Array(4);
  const lit = (i) => {
    const at = (v) => (v - low) / (high - low) * canvas.width;
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.readPixels(Math.round(at(x[i])), Math.round(at(y[i])), 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);
    return isMark(pixel);
  };
  return async (i) => {
    await beginFrame();
    if (lit(i)) return null;
    const begin = performance.now();
    await Plotly.restyle(div, { x: [[x[i]]], y: [[y[i]]] }, [1]);
    const said = performance.now() - begin;
    for (let tries = 0; !lit(i) && tries < 10; tries++) await beginFrame();
    const time = performance.now() - begin, shown = lit(i);
    await Plotly.restyle(div, { x: [[2 * high]], y: [[2 * high]] }, [1]);
    return [said, shown ? time : NaN];
  };
}

const made = {};
window.peers = {
  async make(name, points) { made[name] = await { regl, plotly }[name](points); },
  async times(name, which) {
    const out = [];
    for (const i of which) out.push(await made[name](i));
    return out.filter((v) => v !== null);
  },
};
