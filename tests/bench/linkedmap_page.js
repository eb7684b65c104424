// What the bench of the linked map does inside the page: put there before the page's own code, called by bench_linkedmap.py.
// Nothing counts as done before pixels of it were read back.
globalThis.bench = (() => {
  const bench = {};
  const all = (what) => [...document.querySelectorAll(what)];
  const bases = () => all(".lm-base");
  const read = (canvas, x = 0, y = 0, w = canvas.width, h = canvas.height) =>
    new Uint32Array(canvas.getContext("2d").getImageData(x, y, w, h).data.buffer);
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  // After all that this frame's callbacks did, also those that were asked for after ours.
  const frame = () => new Promise((done) => requestAnimationFrame(() => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      done(performance.now());
    };
    port2.postMessage(0);
  }));
  const pointer = (type, plot, x, y, more = {}) => {
    const box = plot.getBoundingClientRect();
    plot.dispatchEvent(new PointerEvent(type, { clientX: box.left + x, clientY: box.top + y, bubbles: true,
      cancelable: true, pointerId: 1, isPrimary: true, pointerType: "mouse", ...more }));
  };
  const wheel = (plot, deltaY) => {
    const box = plot.getBoundingClientRect();
    plot.dispatchEvent(new WheelEvent("wheel", { deltaY, clientX: box.left + box.width / 2,
      clientY: box.top + box.height / 2, bubbles: true, cancelable: true }));
  };
  // Work that is always the same, about a millisecond: how much of a tail is the machine's, which others may share.
  const yardstick = () => {
    const begin = performance.now();
    for (let i = 0, v = 1; i < 6e5; i++) v = (Math.imul(v, 31) + i) | 0, bench.sink = v;
    return performance.now() - begin;
  };
  const sum = (pixels) => pixels.reduce((h, v) => (Math.imul(h, 31) + v) | 0, 7);
  const still = async (ms = 400) => {
    let last = "", since = performance.now();
    for (const end = since + 20000; performance.now() < end;) {
      await frame();
      const now = bases().map((o) => sum(read(o))).join();
      if (now !== last) [last, since] = [now, performance.now()];
      else if (performance.now() - since > ms) return;
      await wait(20);
    }
    throw new Error("the picture does not come to rest");
  };

  // ---- first paint: when the page says that all is drawn, look whether it is
  new MutationObserver(() => {
    const root = document.querySelector("[data-painted]");
    if (!root || bench.paint) return;
    const pictures = bases().map((o) => read(o)), time = performance.now();
    const lit = pictures.map((o) => o.reduce((n, v) => n + (v !== o[0]), 0));
    bench.paint = { time, lit, pixels: pictures.map((o) => o.length) };
  }).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-painted"] });

  // ---- hover
  bench.hover = async (count, seed) => {
    const plot = document.querySelector(".lm-plot"), root = document.querySelector(".lm"), other = all(".lm-over")[1];
    const hex = getComputedStyle(plot).getPropertyValue("--lm-mark").trim();
    const mark = (0xff000000 | parseInt(hex.slice(5, 7) + hex.slice(3, 5) + hex.slice(1, 3), 16)) >>> 0;
    const random = () => ((seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 2 ** 32);
    const aims = [], times = [], frames = [], yard = [];
    for (let i = 0; i < 4 * count && aims.length < count; i++) {     // not timed: where a partner lights up
      const x = (0.1 + 0.8 * random()) * plot.clientWidth, y = (0.1 + 0.8 * random()) * plot.clientHeight;
      pointer("pointermove", plot, x, y);
      if (!root.dataset.partners) continue;
      let spot = read(other).indexOf(mark);
      if (spot < 0) {
        await frame();
        spot = read(other).indexOf(mark);
      }
      aims.push({ x, y, name: root.dataset.hovered, spot });
    }
    let lit = 0;
    for (const { x, y, name, spot } of aims) {                       // the event, then the pixel at the partner
      pointer("pointerleave", plot, -5, -5);
      await frame();
      const at = [spot % other.width, Math.floor(spot / other.width), 1, 1];
      if (spot < 0 || read(other, ...at)[0] === mark) continue;      // must be dark before, to be lit by this event
      yard.push(yardstick());
      await frame();
      const begin = performance.now();
      pointer("pointermove", plot, x, y);
      for (let tries = 0; read(other, ...at)[0] !== mark && tries < 30; tries++) await frame();
      times.push(performance.now() - begin);
      lit += root.dataset.hovered === name && read(other, ...at)[0] === mark;
      await frame();                                                 // the labels come with the next frame
      frames.push(performance.now() - begin);
    }
    pointer("pointerleave", plot, -5, -5);
    return { times, frames, yard, lit, asked: aims.length };
  };

  // ---- changes that colour all points again
  const controls = {
    search(value) {
      const input = document.querySelector('input[type="search"]');
      input.focus();
      input.value = value;
      input.dispatchEvent(new InputEvent("input", { bubbles: true }));
    },
    slider(value) {
      const input = document.querySelector('input[type="range"]');
      input.value = value;
      input.dispatchEvent(new InputEvent("input", { bubbles: true }));
    },
  };
  bench.change = async (control, from, to, count) => {
    const go = controls[control], times = [], sentinels = [];
    const pictures = [];
    for (const value of [from, to]) {
      go(value);
      await still();
      pictures.push(bases().map((o) => read(o)));
    }
    bases().forEach((canvas, c) => {                                 // some pixels of each picture that tell the two apart
      const differ = [];
      for (let i = 0; i < pictures[0][c].length; i++) if (pictures[0][c][i] !== pictures[1][c][i]) differ.push(i);
      if (differ.length < 20) throw new Error(`${control}: only ${differ.length} pixels of panel ${c} change`);
      for (let k = 0; k < 9; k++) {
        const i = differ[Math.floor((k + 0.5) / 9 * differ.length)];
        sentinels.push({ canvas, x: i % canvas.width, y: Math.floor(i / canvas.width), want: pictures[1][c][i] });
      }
    });
    const done = () => sentinels.every(({ canvas, x, y, want }) => read(canvas, x, y, 1, 1)[0] === want);
    for (let i = 0; i < count; i++) {
      go(from);
      await still(150);
      if (done()) throw new Error(`${control}: the sentinels stand before the change`);
      const begin = performance.now();
      go(to);
      while (!done()) {
        if (performance.now() - begin > 20000) throw new Error(`${control}: the picture does not follow`);
        await frame();
      }
      times.push(performance.now() - begin);
    }
    go(from);
    await still();
    return times;
  };

  // ---- moving: a frame counts where the picture followed
  const said = (plot) => plot.closest(".lm-panel").innerText.match(/[\d,.]+ of [\d,.]+ points[^\n]*/)?.[0] ?? "";
  bench.drag = async (seconds, step = 4) => {
    const plot = document.querySelector(".lm-plot"), canvas = bases()[0], ratio = canvas.width / plot.clientWidth;
    plot.setPointerCapture = () => {};                               // events made here have no pointer to capture
    plot.releasePointerCapture = () => {};
    const full = { drawn: plot.dataset.drawn };
    for (let i = 0; i < 6; i++) wheel(plot, -120);
    await still();
    full.zoomed = plot.dataset.drawn;
    const w = canvas.width, y0 = Math.round(canvas.height * 0.4), rows = 12, strip = () => read(canvas, 0, y0, w, rows);
    const shifted = (a, b, d) => {                                   // share of b that is a moved right by d
      let same = 0, seen = 0;
      for (let x = Math.max(0, d) + 8; x < Math.min(w, w + d) - 8; x++) {
        for (let r = 0; r < rows; r++, seen++) same += a[r * w + x - d] === b[r * w + x];
      }
      return seen ? same / seen : 0;
    };
    const middle = [plot.clientWidth / 2, plot.clientHeight / 2];
    let x = middle[0], direction = 1, followed = 0, frames = 0, sample = "", sampled = "";
    pointer("pointerdown", plot, ...middle, { buttons: 1 });
    pointer("pointermove", plot, x += 8, middle[1], { buttons: 1 });
    await frame();
    let before = strip();
    const begin = performance.now(), slow = [];
    let last = begin;
    while (performance.now() - begin < seconds * 1000) {
      if (Math.abs(x - middle[0]) > 60) direction = -Math.sign(x - middle[0]);
      pointer("pointermove", plot, x += direction * step, middle[1], { buttons: 1 });
      const now = await frame(), after = strip();
      const moved = [1, 2, 3, -1, -2].some((k) => shifted(before, after, Math.round(k * direction * step * ratio)) > 0.9);
      followed += moved && shifted(before, after, 0) < 0.9;
      frames++;
      slow.push(now - last);
      last = now;
      before = after;
      sample ||= said(plot);
      sampled = plot.dataset.drawn;
    }
    const time = (performance.now() - begin) / 1000, end = performance.now();
    pointer("pointerup", plot, x, middle[1], { buttons: 0 });
    let whole = end, shows = sum(read(canvas));                       // until nothing changes any more
    while (performance.now() - whole < 1000) {
      await frame();
      const now = sum(read(canvas));
      if (now !== shows) [whole, shows] = [performance.now(), now];
    }
    return { fps: followed / time, frames: frames / time, slow, sample, sampled, full: plot.dataset.drawn, after: said(plot),
      rest: whole - end };
  };
  bench.zoom = async (seconds) => {
    const plot = document.querySelector(".lm-plot"), canvas = bases()[0], slow = [];
    const strip = () => sum(read(canvas, 0, Math.round(canvas.height * 0.4), canvas.width, 12));
    const begin = performance.now();
    let before = strip(), followed = 0, last = begin;
    for (let i = 0; performance.now() - begin < seconds * 1000; i++) {
      wheel(plot, i % 40 < 20 ? -40 : 40);
      const now = await frame(), after = strip();
      followed += after !== before;
      before = after;
      slow.push(now - last);
      last = now;
    }
    const time = (performance.now() - begin) / 1000;
    await still();
    return { fps: followed / time, slow };
  };
  return bench;
})();
