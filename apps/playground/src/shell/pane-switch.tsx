import type { VNode } from "preact";
import type { Language } from "../text/words.ts";
import { shellWords } from "./text.ts";

const show = (selector: string): void => { document.querySelector(selector)?.scrollIntoView({ inline: "start", block: "nearest" }); };

/** On phones, where one pane is seen at a time: the other one, for those who do not swipe. */
export const PaneSwitch = ({ language }: { readonly language: Language }): VNode => {
  const say = shellWords(language);
  return (
    <section class="pane-switch" aria-label={say("panes")}>
      <button type="button" onClick={() => { show("#view"); }}>{say("viewPane")}</button>
      <button type="button" onClick={() => { show(".panel"); }}>{say("sidePane")}</button>
    </section>
  );
};
