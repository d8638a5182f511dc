/** What a key press asks for. */
export type KeyWish = { readonly kind: "step"; readonly by: 1 | -1 } | { readonly kind: "end"; readonly at: "first" | "last" } | { readonly kind: "play" | "palette" | "help" | "close" } | { readonly kind: "view"; readonly letter: string };

/** Whether keys there are text, or move a control of their own. */
const isTyping = (target: EventTarget | null): boolean => target instanceof HTMLElement && (target.isContentEditable || target.matches("input, select, textarea, [role=slider], [role=tree] *, [role=grid] *"));
const isPressed = (target: EventTarget | null): boolean => target instanceof HTMLElement && target.matches("button, a, summary, [role=button]");

const PLAIN: Readonly<Record<string, KeyWish>> = {
  ArrowLeft: { kind: "step", by: -1 },
  ArrowRight: { kind: "step", by: 1 },
  Home: { kind: "end", at: "first" },
  End: { kind: "end", at: "last" },
  "/": { kind: "palette" },
  "?": { kind: "help" },
  Escape: { kind: "close" },
};

/** Listens for keys of the whole page; "g" waits for a letter. @returns how to stop */
export const listenForKeys = (page: Document, wish: (wish: KeyWish) => void): (() => void) => {
  let going = false;
  const onKey = (event: KeyboardEvent): void => {
    const { key } = event;
    // The editor is in a shadow root, which hides what within it is typed into.
    const [target = null] = event.composedPath();
    if ((event.ctrlKey || event.metaKey) && key.toLowerCase() === "k") {
      event.preventDefault();
      wish({ kind: "palette" });
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (key === "Escape") wish({ kind: "close" });
    if (isTyping(target)) return;
    if (going) {
      going = false;
      if (/^[a-z]$/.test(key)) {
        event.preventDefault();
        wish({ kind: "view", letter: key });
      }
      return;
    }
    const plain = PLAIN[key];
    if (key === "g") going = true;
    else if (key === " " && !isPressed(target)) {
      event.preventDefault();
      wish({ kind: "play" });
    } else if (plain && plain.kind !== "close") {
      event.preventDefault();
      wish(plain);
    }
  };
  page.addEventListener("keydown", onKey);
  return () => { page.removeEventListener("keydown", onKey); };
};
