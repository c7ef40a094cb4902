"use strict";

const $ = (id) => document.getElementById(id);
const file = (name) => `/files/${encodeURIComponent(name)}`;
const state = { sources: [], target: null, face: "largest", job: null };

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer. Is `smoothswap serve` still running?");
  }
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(told.error || `The server answered ${answer.status}.`);
  return told;
}

function say(text) {
  $("message").textContent = text;
  $("message").hidden = !text;
}

function element(tag, properties = {}, children = []) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function refresh() {
  $("swap").disabled = !state.sources.length || !state.target || !state.target.faces.length || state.job !== null;
  $("cancel").hidden = $("working").hidden = state.job === null;
}

// --- files ---

async function send(files, drop, use) {
  say("");
  drop.classList.add("busy");
  for (const one of files) {
    try {
      use(await ask("/files", { method: "POST", body: one }));
    } catch (error) {
      say(`${one.name}: ${error.message}`);
    }
  }
  drop.classList.remove("busy");
  refresh();
}

function listen(kind, use) {
  const drop = $(`${kind}-drop`);
  const input = $(`${kind}-file`);
  input.addEventListener("change", async () => {
    await send([...input.files], drop, use);
    input.value = "";
  });
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    send([...event.dataTransfer.files], drop, use);
  });
}

function addSource(item) {
  if (item.kind === "video") throw new Error("found a video; wanted photos of the person");
  if (!item.faces.length) throw new Error("found no face in it; wanted a photo with one");
  state.sources.push(item);
  showSources();
}

function showSources() {
  $("sources").replaceChildren(
    ...state.sources.map((item, place) => {
      const remove = element("button", { className: "remove plain", textContent: "×", title: "Remove" });
      remove.setAttribute("aria-label", `Remove source ${place + 1}`);
      remove.addEventListener("click", () => {
        state.sources.splice(place, 1);
        ask(file(item.id), { method: "DELETE" }).catch(() => {});
        showSources();
        refresh();
      });
      return element("li", {}, [
        element("img", { src: file(item.faces[0].picture), alt: `Source ${place + 1}` }),
        remove,
      ]);
    }),
  );
}

function setTarget(item) {
  state.target = item;
  state.face = "largest";
  $("target").hidden = false;
  $("target-preview").src = file(item.preview);
  const moves = item.kind !== "photo";
  const what = moves ? `${item.kind}, ${item.seconds} s, ${item.frames} frames` : "photo";
  const faces = item.faces.length === 1 ? "1 face" : `${item.faces.length} faces`;
  const where = moves ? " in the first frame" : "";
  $("target-words").textContent = `${item.width} × ${item.height}, ${what}; ${faces}${where}.`;
  if (!item.faces.length && moves) item.faces = [null]; // later frames may have some
  const words = moves ? "Who is seen most" : "Largest";
  const choices = [["largest", words], ["all", "All"]];
  const tiles = choices.map(([face, name]) => element("button", { textContent: name, value: face }));
  for (const face of item.faces) {
    if (face === null) continue;
    const picture = element("img", { src: file(face.picture), alt: `Face ${face.number}` });
    tiles.push(element("button", { value: String(face.number) }, [picture]));
  }
  for (const tile of tiles) {
    tile.type = "button";
    tile.setAttribute("role", "radio");
    tile.addEventListener("click", () => {
      state.face = /^\d+$/.test(tile.value) ? Number(tile.value) : tile.value;
      mark();
    });
  }
  $("faces").replaceChildren(...tiles);
  mark();
}

function mark() {
  for (const tile of $("faces").children) {
    tile.setAttribute("aria-checked", String(tile.value === String(state.face)));
  }
}

// --- jobs ---

async function swap() {
  say("");
  $("result").hidden = true;
  const wish = {
    sources: state.sources.map((item) => item.id),
    target: state.target.id,
    face: state.face,
    strength: Number($("strength").value) / 100,
  };
  try {
    state.job = await ask("/jobs", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(wish),
    });
    refresh();
    while (["waiting", "running"].includes(state.job.state)) {
      show(state.job);
      await new Promise((done) => setTimeout(done, 400));
      state.job = await ask(`/jobs/${encodeURIComponent(state.job.id)}`);
    }
    if (state.job.state === "failed") say(state.job.text);
    if (state.job.state === "cancelled") say("Cancelled.");
    if (state.job.state === "done") showResult(state.job);
  } catch (error) {
    say(error.message);
  }
  state.job = null;
  refresh();
}

function show(job) {
  const share = job.total ? job.done / job.total : 0;
  $("progress").value = share;
  $("stage").textContent =
    job.state === "waiting" ? "Waiting for other jobs" : `${job.stage || "beginning"}: ${job.done} of ${job.total}`;
}

function showResult(job) {
  const video = state.target.kind === "video";
  const link = file(job.result);
  $("compare").hidden = $("divider-row").hidden = video;
  $("video").hidden = !video;
  if (video) $("video").src = link;
  else {
    $("before").src = file(state.target.preview);
    $("after").src = state.target.kind === "animation" ? link : file(job.preview);
    divide();
  }
  $("notes").textContent = job.text;
  $("download").href = `${link}?download`;
  $("credentials").hidden = !job.credentials;
  if (job.credentials) $("credentials").href = `${file(job.credentials)}?download`;
  $("result").hidden = false;
  $("result").scrollIntoView({ behavior: "smooth" });
}

function divide() {
  $("after").style.clipPath = `inset(0 0 0 ${100 - Number($("divider").value)}%)`;
}

listen("source", addSource);
listen("target", setTarget);
$("swap").addEventListener("click", swap);
$("cancel").addEventListener("click", () => {
  if (state.job) ask(`/jobs/${encodeURIComponent(state.job.id)}`, { method: "DELETE" }).catch((e) => say(e.message));
});
$("strength").addEventListener("input", () => {
  $("strength-value").textContent = `${$("strength").value}%`;
});
$("divider").addEventListener("input", divide);
refresh();
