import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap, type CompletionContext, type CompletionResult } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { javascript } from "@codemirror/lang-javascript";
import { bracketMatching, defaultHighlightStyle, indentOnInput, syntaxHighlighting } from "@codemirror/language";
import { linter } from "@codemirror/lint";
import { EditorState } from "@codemirror/state";
import { drawSelection, EditorView, keymap, lineNumbers } from "@codemirror/view";
import type { Types } from "./types.ts";

const KINDS: Readonly<Record<string, string>> = { method: "method", function: "function", "local function": "function", property: "property", getter: "property", const: "constant", let: "variable", var: "variable", class: "class", interface: "interface", type: "type", keyword: "keyword", module: "namespace", enum: "enum" };

/** An editor with the mistakes and completions that the types tell. It lives in a shadow root: its styles come without markup, which the page's policy forbids. */
export const openEditor = (host: HTMLElement, { source, label, types, changed, run }: { readonly source: string; readonly label: string; readonly types: Types; readonly changed: (source: string) => void; readonly run: () => void }): EditorView => {
  const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
  root.replaceChildren();
  const complete = async (context: CompletionContext): Promise<CompletionResult | null> => {
    const word = context.matchBefore(/[\w$]*/);
    if (!context.explicit && word?.text === "" && context.matchBefore(/[.]/) === null) return null;
    const offers = await types.complete(context.state.doc.toString(), context.pos);
    return { from: word?.from ?? context.pos, options: offers.map(({ label: each, kind }) => ({ label: each, type: KINDS[kind] ?? "text" })), validFor: /^[\w$]*$/ };
  };
  return new EditorView({
    parent: root,
    root,
    state: EditorState.create({
      doc: source,
      extensions: [
        lineNumbers(), history(), drawSelection(), indentOnInput(), bracketMatching(), closeBrackets(),
        javascript({ typescript: true }),
        syntaxHighlighting(defaultHighlightStyle),
        autocompletion({ override: [complete] }),
        linter(async (view) => (await types.check(view.state.doc.toString())).map(({ from, to, text }) => ({ from, to: Math.min(to, view.state.doc.length), severity: "error", message: text }))),
        keymap.of([{ key: "Ctrl-Enter", mac: "Cmd-Enter", run: () => { run(); return true; } }, ...closeBracketsKeymap, ...completionKeymap, ...historyKeymap, ...defaultKeymap]),
        EditorView.contentAttributes.of({ "aria-label": label }),
        EditorView.updateListener.of((update) => { if (update.docChanged) changed(update.state.doc.toString()); }),
        EditorView.theme({ "&": { border: "1px solid currentcolor", fontSize: "14px", maxHeight: "60vh" }, ".cm-content": { fontFamily: "ui-monospace, monospace", caretColor: "currentcolor" }, ".cm-gutters": { background: "transparent", color: "inherit" }, ".cm-scroller": { overflow: "auto" }, "&.cm-focused": { outline: "2px solid currentcolor" } }),
      ],
    }),
  });
};
