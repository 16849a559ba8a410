// Keeps the panels as they are on the server. Without it the page is the same, and stands still.
const policy = self.trustedTypes
  ? trustedTypes.createPolicy("homing", { createHTML: (html) => html })
  : { createHTML: (html) => html };
const pause = document.getElementById("pause");
const waiting = new Map();
let paused = false;

/** Turns one element into another, and touches only what differs, so that focus and open details stay. */
function become(old, wanted) {
  if (old.nodeType !== wanted.nodeType || old.nodeName !== wanted.nodeName) {
    old.replaceWith(wanted);
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== wanted.nodeValue) old.nodeValue = wanted.nodeValue;
    return;
  }
  for (const { name } of [...old.attributes]) {
    const kept = name === "open" && old.nodeName === "DETAILS";
    if (!kept && !wanted.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  const before = [...old.childNodes];
  const after = [...wanted.childNodes];
  after.forEach((child, n) => (n < before.length ? become(before[n], child) : old.append(child)));
  before.slice(after.length).forEach((child) => child.remove());
}

function show() {
  for (const [id, html] of waiting) {
    const old = document.getElementById(id);
    const template = document.createElement("template");
    template.innerHTML = policy.createHTML(html);
    if (old && template.content.firstElementChild) become(old, template.content.firstElementChild);
  }
  waiting.clear();
}

function listen() {
  const source = new EventSource(document.body.dataset.live);
  source.onmessage = (event) => {
    for (const [id, html] of Object.entries(JSON.parse(event.data))) waiting.set(id, html);
    if (!paused) show();
    document.body.classList.remove("stale");
  };
  source.onerror = () => {
    document.body.classList.add("stale");
    // The session may be over; then the page must not go on showing what it knew.
    fetch("/api/status").then((answer) => answer.status === 401 && location.reload(), () => {});
  };
}

pause.hidden = false;
pause.addEventListener("click", () => {
  paused = !paused;
  pause.setAttribute("aria-pressed", String(paused));
  if (!paused) show();
});
listen();
