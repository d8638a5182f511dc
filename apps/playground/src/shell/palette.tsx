import { useState } from "preact/hooks";
import type { VNode } from "preact";
import { Modal } from "../ui/modal.tsx";
import { shellWords } from "./text.ts";
import type { Language } from "../text/words.ts";

/** A place to go to. */
export interface Destination {
  readonly id: string;
  readonly label: string;
  readonly kind: string;
  readonly go: () => void;
}

/** Those that have every typed word in their names, in their order. */
const matching = (destinations: readonly Destination[], typed: string): readonly Destination[] => {
  const wanted = typed.toLowerCase().split(/\s+/).filter((word) => word !== "");
  return destinations.filter(({ label, kind, id }) => wanted.every((word) => `${label} ${kind} ${id}`.toLowerCase().includes(word)));
};

/** Everything there is, by typing: a combobox whose list shows what matches. */
export const Palette = ({ destinations, language, onClose }: { readonly destinations: readonly Destination[]; readonly language: Language; readonly onClose: () => void }): VNode => {
  const say = shellWords(language);
  const [typed, type] = useState("");
  const [at, move] = useState(0);
  const found = matching(destinations, typed);
  const current = Math.min(at, found.length - 1);
  const take = (destination: Destination | undefined): void => {
    if (!destination) return;
    onClose();
    destination.go();
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const by = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (by !== 0) {
      event.preventDefault();
      move(Math.max(0, Math.min(found.length - 1, current + by)));
    }
    if (event.key === "Enter") {
      event.preventDefault();
      take(found[current]);
    }
  };
  return (
    <Modal title={say("palette")} closeLabel={say("close")} onClose={onClose}>
      <input type="text" role="combobox" aria-expanded={true} aria-controls="palette-list" aria-activedescendant={found.length > 0 ? `palette-${current}` : undefined} aria-label={say("paletteHint")} placeholder={say("paletteHint")} value={typed} autofocus onInput={({ currentTarget }) => { type(currentTarget.value); move(0); }} onKeyDown={onKeyDown} />
      <ul id="palette-list" role="listbox" aria-label={say("palette")}>
        {found.map((destination, i) => (
          <li key={destination.id} id={`palette-${i}`} role="option" aria-selected={i === current} class={i === current ? "lit" : undefined} onClick={() => { take(destination); }}>
            {destination.label} <small>{destination.kind}</small>
          </li>
        ))}
      </ul>
      {found.length === 0 && <p role="status">{say("nothing")}</p>}
    </Modal>
  );
};
