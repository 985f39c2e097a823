"use strict";
/* Slice viewers: a JPEG for each slice, label maps drawn over it. Nothing is unpacked before a viewer is near the screen. */
(() => {
  const SHARP = 3; // canvas pixels for each pixel of the scan, so that outlines are thin
  const bytesOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

  const unpacked = async (base64) => {
    const stream = new Blob([bytesOf(base64)]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };

  const picture = async (base64) => {
    const image = new Image();
    image.src = `data:image/jpeg;base64,${base64}`;
    await image.decode();
    return image;
  };

  const channels = (color) => [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));

  /* A translucent picture of a label map, one pixel for each of the scan. */
  const fillOf = (labels, [height, width], colors) => {
    const pixels = new ImageData(width, height);
    labels.forEach((value, at) => {
      if (colors[value]) pixels.data.set([...channels(colors[value]), 92], 4 * at);
    });
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height];
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    return canvas;
  };

  /* The border of one label as a path along the edges of pixels. */
  const borderOf = (labels, [height, width], value) => {
    const path = new Path2D();
    const is = (row, column) =>
      row >= 0 && column >= 0 && row < height && column < width && labels[row * width + column] === value;
    const edge = (x, y, right, down) => {
      path.moveTo(x, y);
      path.lineTo(x + right, y + down);
    };
    for (let row = 0; row <= height; row++) {
      for (let column = 0; column <= width; column++) {
        if (is(row, column) !== is(row - 1, column)) edge(column, row, 1, 0);
        if (is(row, column) !== is(row, column - 1)) edge(column, row, 0, 1);
      }
    }
    return path;
  };

  const start = (figure) => {
    const data = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    const canvas = figure.querySelector("canvas");
    const slider = figure.querySelector("input[type=range]");
    const method = figure.querySelector("[data-method]");
    const ways = Object.fromEntries([...figure.querySelectorAll("[data-mask]")].map((way) => [way.dataset.mask, way]));
    const place = figure.querySelector(".place");
    const colors = Object.fromEntries(data.labels.map(({ value, color }) => [value, color]));
    const [height, width] = data.shape;
    const images = new Map();
    const maps = new Map();
    const context = canvas.getContext("2d");
    canvas.width = width * SHARP;
    canvas.height = Math.round((height * SHARP * data.pixel[0]) / data.pixel[1]);

    const once = (cache, key, make) => cache.get(key) ?? cache.set(key, make()).get(key);
    const imageOf = (index) => once(images, index, () => picture(data.images[index]));
    const labelsOf = (mask) => {
      const chosen = data.predictions.find(({ name }) => name === method.value);
      return once(maps, mask === "reference" ? "" : `method ${method.value}`, () =>
        unpacked(mask === "reference" ? data.reference : chosen.labels));
    };
    const index = () => Number(slider.value);

    const drawMask = (labels, way, line) => {
      context.save();
      context.scale(SHARP, canvas.height / height);
      context.lineCap = "square"; // so that the edges of pixels join
      if (way === "filled") {
        context.imageSmoothingEnabled = false;
        context.drawImage(fillOf(labels, data.shape, colors), 0, 0);
      } else if (way === "outlined") {
        for (const { value, color } of data.labels) {
          if (!labels.includes(value)) continue;
          const border = borderOf(labels, data.shape, value);
          for (const [style, breadth] of [["#000a", line + 0.8], [color, line]]) {
            [context.strokeStyle, context.lineWidth] = [style, breadth];
            context.stroke(border);
          }
        }
      }
      context.restore();
    };

    const draw = async () => {
      const [at, of] = [index(), method.value];
      const [image, reference, prediction] = await Promise.all([
        imageOf(at), labelsOf("reference"), labelsOf("prediction")]);
      if (at !== index() || of !== method.value) return; // the reader has moved on
      const slice = (labels) => labels.subarray(at * height * width, (at + 1) * height * width);
      context.drawImage(image, 0, 0, canvas.width, canvas.height);
      drawMask(slice(reference), ways.reference.value, 1.4);
      drawMask(slice(prediction), ways.prediction.value, 0.8);
      const words = `Slice ${data.slices[at] + 1} of ${data.depth}`;
      place.textContent = words;
      slider.setAttribute("aria-valuetext", words);
      figure.dataset.drawn = at;
    };

    const moveTo = (to) => {
      const before = index();
      slider.value = Math.min(Math.max(to, 0), data.images.length - 1);
      if (index() !== before) draw();
      return index() !== before;
    };

    const next = (choice) => {
      choice.selectedIndex = (choice.selectedIndex + 1) % choice.options.length;
      draw();
    };
    const last = data.images.length - 1;
    const keys = {
      ArrowUp: () => moveTo(index() - 1), ArrowLeft: () => moveTo(index() - 1), PageUp: () => moveTo(index() - 10),
      ArrowDown: () => moveTo(index() + 1), ArrowRight: () => moveTo(index() + 1), PageDown: () => moveTo(index() + 10),
      Home: () => moveTo(0), End: () => moveTo(last),
      r: () => next(ways.reference), p: () => next(ways.prediction), m: () => next(method),
    };
    figure.addEventListener("keydown", (event) => {
      if (event.target.matches("select") || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
      event.preventDefault();
      keys[event.key]();
    });
    slider.addEventListener("input", draw);
    for (const choice of figure.querySelectorAll("select")) choice.addEventListener("change", draw);
    canvas.addEventListener("wheel", (event) => {
      if (event.ctrlKey) return; // that zooms the page
      if (moveTo(index() + Math.sign(event.deltaY))) event.preventDefault(); // at either end the page scrolls on
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      slider.focus({ preventScroll: true });
      const [x, from] = [event.clientX, index()];
      const drag = (moved) => moveTo(from + Math.round((moved.clientX - x) / 6));
      canvas.addEventListener("pointermove", drag);
      const stop = () => canvas.removeEventListener("pointermove", drag);
      for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, stop, { once: true });
    });
    for (const { name, color } of data.labels) {
      const entry = figure.querySelector(".labels").appendChild(document.createElement("li"));
      const key = entry.appendChild(document.createElement("span"));
      key.className = "key";
      key.style.background = color;
      entry.append(name);
    }
    slider.value = data.start;
    draw();
  };

  const near = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      start(target);
    }
  }, { rootMargin: "600px" });
  for (const figure of document.querySelectorAll(".viewer")) near.observe(figure);
})();
