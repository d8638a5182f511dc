import type { VNode } from "preact";
import { VIEWS } from "../state/app-state.ts";
import type { Language } from "../text/words.ts";
import { Modal } from "../ui/modal.tsx";
import { REGISTRY } from "../views/registry.ts";
import { shellWords, viewWords } from "./text.ts";

/** Every key. */
export const Help = ({ language, onClose }: { readonly language: Language; readonly onClose: () => void }): VNode => {
  const say = shellWords(language);
  const name = viewWords(language);
  const keys: readonly (readonly [string, string])[] = [["← →", say("keyStep")], ["Home End", say("keyEnds")], ["Space", say("keyPlay")], ["/", say("keyPalette")], ["g", say("keyView")], ["?", say("keyHelp")], ["Esc", say("keyEscape")]];
  return (
    <Modal title={say("help")} closeLabel={say("close")} onClose={onClose}>
      <p>{say("keysAbout")}</p>
      <dl class="keys">
        {keys.map(([key, what]) => [<dt key={key}><kbd>{key}</kbd></dt>, <dd key={what}>{what}</dd>])}
        {VIEWS.flatMap((id) => { const entry = REGISTRY[id]; return entry ? [<dt key={`${id}-key`}><kbd>g {entry.key}</kbd></dt>, <dd key={id}>{name(id)}</dd>] : []; })}
      </dl>
    </Modal>
  );
};
