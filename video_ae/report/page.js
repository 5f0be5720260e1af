"use strict";

// Each player draws frames from sheets: cells of the truth above what the model made of it, clip after clip.
const MILLISECONDS = 200;

for (const player of document.querySelectorAll(".player")) start(player);

async function start(player) {
  const sheets = [...player.querySelectorAll(".sheet")];
  await Promise.all(sheets.map((sheet) => sheet.decode()));
  const views = [...player.querySelectorAll(".view")];
  const [play, back, on, slider, choice, output] = player.querySelector(".controls").children;
  const { frames, inputs } = numbers(player);
  let timer = null;

  function draw() {
    const frame = Number(slider.value) - 1;
    const seen = frame < inputs;
    for (const view of views) if (!view.hidden) drawView(view, sheets, frame);
    player.classList.toggle("ahead", !seen);
    const what = seen ? "input above, its reconstruction below" : "true future above, the prediction below";
    const place = seen ? "" : `, step ${frame + 1 - inputs} after the input`;
    output.value = `frame ${frame + 1} of ${frames}${place}: ${what}`;
  }

  function step(by) {
    slider.value = 1 + (Number(slider.value) - 1 + by + frames) % frames;
    draw();
  }

  function setPlaying(playing) {
    clearTimeout(timer);
    timer = playing ? setTimeout(tick, MILLISECONDS) : null;
    play.textContent = playing ? "Pause" : "Play";
    output.ariaLive = playing ? "off" : "polite"; // or a screen reader would never end
  }

  function tick() {
    step(1);
    const last = Number(slider.value) === frames;
    timer = setTimeout(tick, last ? 5 * MILLISECONDS : MILLISECONDS);
  }

  function pick() {
    const all = choice.value === "all";
    player.classList.toggle("all", all);
    player.classList.toggle("one", !all);
    for (const view of views) view.hidden = !all && view.dataset.clip !== choice.value;
    draw();
  }

  play.onclick = () => setPlaying(timer === null);
  back.onclick = () => { setPlaying(false); step(-1); };
  on.onclick = () => { setPlaying(false); step(1); };
  slider.oninput = () => { setPlaying(false); draw(); };
  choice.onchange = pick;
  for (const sheet of sheets) sheet.hidden = true;
  player.querySelector(".controls").hidden = false;
  pick();
  setPlaying(!matchMedia("(prefers-reduced-motion: reduce)").matches);
}

function drawView(view, sheets, frame) {
  const sheet = sheets[view.dataset.sheet];
  const { frames, inputs, width, height, rebuilt, predicted } = numbers(sheet);
  const columns = sheet.naturalWidth / width;
  const cell = view.dataset.clip * frames + Math.min(frame, frames - 1);
  const x = (cell % columns) * width;
  const y = Math.floor(cell / columns) * 2 * height;
  const [truth, model, difference] = view.querySelectorAll("canvas");
  const paint = (canvas, top) => canvas.getContext("2d").drawImage(sheet, x, top, width, height, 0, 0, width, height);
  for (const canvas of [truth, model, difference]) Object.assign(canvas, { width, height }); // also clears it
  paint(truth, y);
  paint(model, y + height);
  if (!(frame < inputs ? rebuilt : predicted)) return; // a model without that decoder
  paint(difference, y);
  difference.getContext("2d").globalCompositeOperation = "difference";
  paint(difference, y + height);
}

function numbers(part) {
  return Object.fromEntries(Object.entries(part.dataset).map(([name, text]) => [name, Number(text)]));
}
