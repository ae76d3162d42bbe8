// What is wider than its place can be scrolled by the keyboard, and what only looks like a list of
// pages to who hears the page is none.
const mark = () => {
  document.querySelectorAll(".md-typeset__scrollwrap, math[display=block]").forEach((part) => {
    if (part.scrollWidth > part.clientWidth) part.tabIndex = 0;
    else part.removeAttribute("tabindex");
  });
  document.querySelectorAll(".md-code__nav").forEach((part) => (part.role = "group"));
};

addEventListener("load", mark);
addEventListener("resize", mark);
