import { FIRST, type AppState } from "../state/app-state.ts";
import type { Entry } from "../text/words.ts";

/** An example with an address of its own: `#/example/ID`. */
export interface Example {
  readonly id: string;
  readonly title: Entry;
  readonly about: Entry;
  readonly state: Partial<AppState>;
}

const run = (scenario: string, without: readonly string[] = []): AppState["run"] => ({ scenario, iommu: "intel", seed: 1, without });

/** Every example, as the gallery shows them. */
export const EXAMPLES: readonly Example[] = [
  {
    id: "rogue-device",
    title: ["A device writes where it may not", "Un dispositivo escribe donde no debe", "设备写入不该写的地方"],
    about: ["Step through a DMA write that the IOMMU refuses, and the same without it.", "Recorra paso a paso una escritura DMA que el IOMMU rechaza, y la misma sin él.", "逐步观察 IOMMU 拒绝的一次 DMA 写入，以及没有它时的情形。"],
    state: { view: "story", run: run("rogue-device"), step: 260 },
  },
];

/** The state of an example. */
export const exampleState = (id: string): AppState | undefined => {
  const found = EXAMPLES.find((each) => each.id === id);
  return found && { ...FIRST, ...found.state };
};
