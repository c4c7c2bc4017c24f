"use strict";
(() => {
  const stage = document.querySelector(".stage");
  const note = document.getElementById("note");
  let quiet = 0;

  const say = (text) => {
    note.textContent = text;
    note.classList.add("shown");
    clearTimeout(quiet);
    quiet = setTimeout(() => note.classList.remove("shown"), 4000);
  };

  // Pages opened from a file, and frames in notebooks, may not have navigator.clipboard.
  const copyByHand = (text) => {
    const area = document.createElement("textarea");
    const before = document.activeElement;
    area.value = text;
    area.setAttribute("readonly", "");
    area.style.cssText = "position:fixed;top:0;opacity:0";
    document.body.append(area);
    area.select();
    let done = false;
    try { done = document.execCommand("copy"); } catch { done = false; }
    area.remove();
    if (before && before.focus) before.focus({ preventScroll: true });
    return done;
  };

  const copy = async (text) => {
    let done = true;
    try { await navigator.clipboard.writeText(text); } catch { done = copyByHand(text); }
    say(done ? `copied ${text}` : `cannot copy here; it is ${text}`);
  };

  const light = (at, on) => {
    for (const one of document.querySelectorAll(`[data-card="${at}"]`)) one.classList.toggle("lit", on);
  };

  const show = (star) => {
    for (const card of document.querySelectorAll(".card")) card.hidden = true;
    const card = document.getElementById(`card-${star.dataset.card}`);
    card.hidden = false;
    const frame = stage.getBoundingClientRect();
    const mark = star.querySelector(".touch").getBoundingClientRect();
    const right = mark.right - frame.left + 12;
    const fits = right + card.offsetWidth <= frame.width;
    const left = fits ? right : mark.left - frame.left - 12 - card.offsetWidth;
    const top = (mark.top + mark.bottom) / 2 - frame.top - card.offsetHeight / 2;
    card.style.left = `${Math.max(0, left)}px`;
    card.style.top = `${Math.max(0, Math.min(top, frame.height - card.offsetHeight))}px`;
    light(star.dataset.card, true);
  };

  const hide = (star) => {
    document.getElementById(`card-${star.dataset.card}`).hidden = true;
    light(star.dataset.card, false);
  };

  for (const star of document.querySelectorAll(".graph .star")) {
    star.addEventListener("mouseenter", () => show(star));
    star.addEventListener("mouseleave", () => hide(star));
    star.addEventListener("focus", () => { if (star.matches(":focus-visible")) show(star); });
    star.addEventListener("blur", () => hide(star));
    star.addEventListener("keydown", (event) => {
      if (event.key === "Escape") hide(star);
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      copy(star.dataset.copy);
    });
  }
  for (const row of document.querySelectorAll("tr[data-card]")) {
    row.addEventListener("mouseenter", () => light(row.dataset.card, true));
    row.addEventListener("mouseleave", () => light(row.dataset.card, false));
  }
  for (const one of document.querySelectorAll("[data-copy]")) {
    one.addEventListener("click", () => copy(one.dataset.copy));
  }
  for (const choice of document.querySelectorAll("input[name=view]")) {
    choice.addEventListener("change", () => {
      for (const view of document.querySelectorAll("[data-view]")) view.hidden = view.dataset.view !== choice.value;
    });
  }
})();
