import { hex } from "../entries/edits.ts";
import { isStale, type Outcome } from "./lab.ts";
import type { CacheSay } from "./text.ts";

const address = (page: number): string => hex(page * 4096);

/** What an operation came to, in a sentence. */
export const outcomeSentence = (outcome: Outcome, say: CacheSay): string => {
  switch (outcome.kind) {
    case "mapped": return say("mapped", { page: outcome.page, frame: address(outcome.frame) });
    case "unmapped": return say("unmapped", { page: outcome.page });
    case "moved": return say("moved", { domain: outcome.domain });
    case "queued": return say("queued", { name: outcome.name, index: outcome.index });
    case "rung": return say("rung");
    case "access": {
      const { page, write, by, reads, frame, memory } = outcome;
      const access = say(write ? "writing" : "reading");
      const went = frame !== undefined ? say("went", { access, page, frame: address(frame), by: by === "walk" ? say("walk", { reads }) : say("hit", { cache: by }) }) : by === "walk" ? say("refused", { access, page, reads }) : say("refusedByCache", { access, page });
      return isStale(outcome) ? `${went} ${say("stale", { memory: memory === undefined ? say("nothing") : address(memory) })}` : went;
    }
  }
};
