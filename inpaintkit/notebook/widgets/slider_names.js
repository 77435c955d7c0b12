// ipywidgets' sliders, and the numbers beside them, have no names for screen readers: this gives them the label on their left.

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
  const watching = new MutationObserver(name); // sliders are added to the page one by one
  watching.observe(document.body, { childList: true, subtree: true });
  return () => watching.disconnect();
}

export default { render };
