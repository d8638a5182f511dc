import type { VNode } from "preact";
import { EXAMPLES } from "../gallery/gallery.ts";
import { SCENARIO_TITLES, scenarioTitle } from "../text/scenario-titles.ts";
import { LANGUAGES, type Language } from "../text/words.ts";
import { Modal } from "../ui/modal.tsx";
import { shellWords } from "./text.ts";

/** Every example and every scenario, each a link. */
export const Gallery = ({ language, onClose }: { readonly language: Language; readonly onClose: () => void }): VNode => {
  const say = shellWords(language);
  const at = LANGUAGES.indexOf(language);
  const follow = (event: Event): void => { if (event.target instanceof HTMLAnchorElement) onClose(); };
  return (
    <Modal title={say("gallery")} closeLabel={say("close")} onClose={onClose}>
      <p>{say("galleryAbout")}</p>
      <h3>{say("examples")}</h3>
      <ul class="gallery" onClick={follow}>{EXAMPLES.map(({ id, title, about }) => <li key={id}><a href={`#/example/${id}?lang=${language}`}>{title[at]}</a><p>{about[at]}</p></li>)}</ul>
      <h3>{say("scenarios")}</h3>
      <ul class="gallery" onClick={follow}>{Object.keys(SCENARIO_TITLES).map((name) => <li key={name}><a href={`#/run/${name}?lang=${language}`}>{scenarioTitle(name, language)}</a></li>)}</ul>
    </Modal>
  );
};
