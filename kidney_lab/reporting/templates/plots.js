"use strict";
/* Plots: the text of a dot under the pointer, the finger or the arrow keys; entries of a legend that hide and show. */
(() => {
  const tip = document.body.appendChild(document.createElement("p"));
  tip.className = "tip";
  tip.setAttribute("role", "status");
  const textOf = new Map(); // of every shape that has one: the browser's own tooltip would stand beside ours

  const show = (shape) => {
    hide();
    shape.classList.add("active");
    tip.textContent = textOf.get(shape);
    const [dot, own] = [shape.getBoundingClientRect(), tip.getBoundingClientRect()];
    const left = Math.min(Math.max(dot.left + dot.width / 2 - own.width / 2, 4), innerWidth - own.width - 4);
    const above = dot.top - own.height - 8;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 4 ? above : dot.bottom + 8}px`;
  };
  const hide = () => {
    tip.textContent = "";
    document.querySelector(".plot .active")?.classList.remove("active");
  };

  /* Goes to a case: its row in the table, and its slices where there are some. */
  const visit = (shape) => {
    const { case: id } = shape.dataset;
    if (!id) return;
    const run = shape.closest("[data-run]")?.dataset.run;
    const of = (selector) => [...document.querySelectorAll(selector)].filter((one) => one.dataset.case === id);
    const [viewers, rows] = [of(".viewer"), of("#case-table tbody tr")];
    const shows = (option) => option.value === run || option.dataset.run === run; // a row's name, or its run's
    const option = viewers.flatMap((one) => [...one.querySelectorAll("[data-method] option")]).find(shows);
    const viewer = option?.closest(".viewer") ?? viewers[0];
    const row = rows.find((one) => [run, option?.dataset.run].includes(one.dataset.run)) ?? rows[0];
    for (const marked of document.querySelectorAll("tr.chosen")) marked.classList.remove("chosen");
    if (row) {
      row.hidden = false;
      row.classList.add("chosen");
      row.tabIndex = -1;
      row.scrollIntoView({ block: "center" });
    }
    if (viewer) {
      viewer.scrollIntoView({ block: "start" });
      if (option) option.selected = true;
      option?.parentElement.dispatchEvent(new Event("change")); // a viewer that has not started reads it when it does
    }
    (viewer ?? row)?.focus({ preventScroll: true });
    hide();
  };

  const start = (plot) => {
    const shapes = [...plot.querySelectorAll("title")].map((title) => {
      const shape = title.parentElement;
      textOf.set(shape, title.textContent);
      title.remove();
      return shape;
    });
    if (!shapes.length) return;
    plot.setAttribute("role", "application");
    plot.setAttribute("aria-roledescription", "plot, arrow keys read its dots");
    plot.setAttribute("tabindex", "0");
    let at = -1;
    const step = (by) => {
      const seen = shapes.filter((shape) => !shape.closest("[hidden], .off"));
      if (!seen.length) return;
      at = (seen.indexOf(shapes[at]) + by + seen.length) % seen.length;
      at = shapes.indexOf(seen[at]);
      show(shapes[at]);
    };
    const shapeAt = (event) => {
      const shape = event.target.closest(".plot *");
      return textOf.has(shape) ? shape : null;
    };
    plot.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (by) step(by);
      else if (event.key === "Enter" && at >= 0) visit(shapes[at]);
      else if (event.key === "Escape") hide();
      else return;
      event.preventDefault();
    });
    plot.addEventListener("pointerover", (event) => (shapeAt(event) ? show(shapeAt(event)) : hide()));
    plot.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hide());
    plot.addEventListener("blur", hide);
    plot.addEventListener("click", (event) => {
      const shape = shapeAt(event);
      // a finger reads a dot first, and its second touch goes to the case
      if (shape && (event.pointerType !== "touch" || shape === shapes[at])) visit(shape);
      at = shapes.indexOf(shape);
    });
  };

  /* The entries of legends are buttons: each hides what belongs to its run in every plot of its section. */
  const startLegend = (legend) => {
    const section = legend.closest("section");
    const parts = (name) => [...section.querySelectorAll(".plot [data-run]")].filter((one) => one.dataset.run === name);
    for (const entry of legend.querySelectorAll("li[data-run]")) {
      const { run } = entry.dataset;
      if (!parts(run).length) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...entry.childNodes);
      button.setAttribute("aria-pressed", "true");
      entry.append(button);
      button.addEventListener("click", () => {
        const off = button.getAttribute("aria-pressed") === "true";
        for (const twin of section.querySelectorAll(".legend li[data-run] button")) {
          if (twin.parentElement.dataset.run === run) twin.setAttribute("aria-pressed", String(!off));
        }
        for (const part of parts(run)) part.classList.toggle("off", off);
      });
    }
  };

  for (const plot of document.querySelectorAll("svg.plot")) start(plot);
  for (const legend of document.querySelectorAll(".legend")) startLegend(legend);
  addEventListener("scroll", hide, { passive: true });
  addEventListener("keydown", (event) => event.key === "Escape" && hide());
})();
