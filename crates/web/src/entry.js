// The code may come in the fragment of the address, which no server sees and no other site can read.
const code = location.hash.slice(1);
if (code) {
  history.replaceState(null, "", location.pathname);
  const body = new URLSearchParams({ code });
  fetch("/enter", { method: "POST", body, redirect: "manual" }).then(
    () => location.reload(),
    () => {},
  );
}
