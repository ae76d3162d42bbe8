// What is wider than its place can be scrolled by the keyboard, and lists of buttons have names by
// which who hears the page tells them apart.
const mark = () => {
  document.querySelectorAll(".md-typeset__scrollwrap, math[display=block]").forEach((part) => {
    if (part.scrollWidth > part.clientWidth) part.tabIndex = 0;
    else part.removeAttribute("tabindex");
  });
  document.querySelectorAll(".md-code__nav").forEach((part, index) => {
    part.ariaLabel = `Code ${index + 1}`;
  });
};

addEventListener("load", mark);
addEventListener("resize", mark);
