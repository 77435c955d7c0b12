// ipywidgets' sliders, and the numbers beside them, have no names that a screen reader could say: they get the words on their left.

const NAMELESS = ".inpaintkit .noUi-handle:not([aria-label]), .inpaintkit .widget-readout[contenteditable]:not([aria-label])";

function name() {
  for (const part of document.querySelectorAll(NAMELESS)) {
    const row = part.closest(".widget-inline-hbox"), handles = [...row.querySelectorAll(".noUi-handle")];
    const end = handles.length > 1 ? [", least", ", most"][handles.indexOf(part)] ?? "" : "";
    part.setAttribute("aria-label", row.querySelector("label").textContent + end);
    if (!handles.includes(part)) part.setAttribute("role", "textbox");
  }
}

function render() {
  const watching = new MutationObserver(name); // sliders come onto the page one by one
  watching.observe(document.body, { childList: true, subtree: true });
  return () => watching.disconnect();
}

export default { render };
