// What the pages gain by script: local times, copy buttons, toasts, a confirm dialog, shortcuts. Nothing needs it.
(() => {
  "use strict";
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => root.querySelectorAll(selector);

  // Times come as UTC text; the title keeps it, the text becomes this browser's time.
  const short = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const long = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const thisYear = new Date().getFullYear();
  const localise = (root) => $$("time[datetime]", root).forEach((time) => {
    const at = new Date(time.dateTime);
    time.textContent = (at.getFullYear() === thisYear ? short : long).format(at);
  });

  const showCopyButtons = (root) => $$("[data-copy][hidden]", root).forEach((button) => { button.hidden = !navigator.clipboard; });

  const enhance = (root) => { localise(root); showCopyButtons(root); showPickers(root); };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText($(button.dataset.copy).textContent);
    const label = $("[data-copy-label]", button);
    label.textContent = "Copied";
    button.classList.add("copied");
    setTimeout(() => { label.textContent = "Copy"; button.classList.remove("copied"); }, 2000);
  });

  // Toasts: good news goes by itself, bad news stays until it is closed.
  const toast = (level, text) => {
    const box = document.createElement("div");
    box.className = `toast ${level === "error" ? "bad" : "good"}`;
    box.textContent = text;
    const close = document.createElement("button");
    close.type = "button";
    close.className = "plain";
    close.textContent = "Close";
    close.addEventListener("click", () => box.remove());
    box.append(close);
    $("#toasts").append(box);
    if (level !== "error") setTimeout(() => box.remove(), 6000);
  };
  document.addEventListener("toast", (event) => toast(event.detail.level, event.detail.text));
  document.addEventListener("htmx:error", (event) => {
    const isPoll = event.detail.ctx?.sourceElement?.hasAttribute("data-poll");
    if (!isPoll) toast("error", "The admin did not answer. Is it running?");
  });

  // Confirm: the question is the form's own; the answer decides whether the request goes out.
  document.addEventListener("htmx:confirm", (event) => {
    const { ctx, issueRequest, dropRequest } = event.detail;
    if (!ctx.confirm) return;
    event.preventDefault();
    const dialog = $("#confirm");
    const source = ctx.sourceElement;
    $("#confirm-question").textContent = ctx.confirm;
    $("#confirm-consequence").textContent = source.dataset.consequence ?? "";
    $("#confirm-yes").textContent = source.dataset.yes ?? "Yes";
    dialog.returnValue = "no";
    dialog.addEventListener("close", () => (dialog.returnValue === "yes" ? issueRequest() : dropRequest()), { once: true });
    dialog.showModal();
  });

  // A hidden tab asks for nothing.
  document.addEventListener("htmx:before:request", (event) => {
    if (document.hidden && event.detail.ctx.sourceElement.hasAttribute("data-poll")) event.preventDefault();
  });

  // What was open stays open when a part is renewed.
  const opened = new Set();
  document.addEventListener("toggle", (event) => {
    if (event.target.id) opened[event.target.open ? "add" : "delete"](event.target.id);
  }, true);
  document.addEventListener("htmx:after:swap", () => {
    enhance(document);
    opened.forEach((id) => { const details = document.getElementById(id); if (details?.localName === "details") details.open = true; });
  });

  // One box selects all of a page; it is there only with this script.
  const showPickers = (root) => $$("[data-pick-all][hidden]", root).forEach((label) => { label.hidden = false; });
  document.addEventListener("change", (event) => {
    if (!event.target.closest("[data-pick-all]")) return;
    $$("tbody input[type=checkbox]", event.target.closest("table")).forEach((box) => { box.checked = event.target.checked; });
  });

  // Shortcuts; single keys can be switched off under Help.
  let goesTo = false;
  const go = (key) => { const link = $(`[data-go="${key}"]`); if (link) location.assign(link.href); };
  const keys = {
    "/": () => $("[data-search]")?.focus(),
    "?": () => $("#shortcuts").showModal(),
    g: () => { goesTo = true; setTimeout(() => { goesTo = false; }, 1500); },
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !("shortcuts" in document.body.dataset)) return;
    if (event.target.closest("input, select, textarea, dialog[open]")) return;
    if (goesTo) { goesTo = false; go(event.key); return; }
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });

  // After a change the next page begins with what became of it, for ears too.
  const notice = $("main > .notice[tabindex]");
  if (notice && !$("main [autofocus]")) notice.focus();

  enhance(document);
})();
