import { formatAddress } from "@iommu-lab/pci-bus";
import { bootBios, displaysOf, ownersOf, setTextMode } from "@iommu-lab/vga-arbiter";
import type { Machine } from "../machine/machine.ts";
import { cardAt, decodeLegacy, displayLaboratory, graphicsCard, shownText, TEXT_SCREEN, watchConflicts } from "./graphics-cards.ts";
import { slot } from "./laboratory.ts";
import type { Scenario } from "./scenario.ts";
import type { Stage } from "./stage.ts";
import { nativeDrivers } from "./vga-drivers.ts";
import { shadowAndWindow } from "./vga-window.ts";

const [FIRST, SECOND] = ["0000:01:00.0", "0000:02:00.0"] as const;
/** Bytes that a video BIOS draws, below the first line. */
const DRAWN = 64;
const PLACE = 0x140;

/** A machine with two cards that know no UEFI; nothing has started them yet. */
const twoCards = (stage: Stage, name: string): Machine =>
  stage.machine(name, displayLaboratory([slot("01.0", 1, [graphicsCard({ device: 0x1111 })]), slot("02.0", 2, [graphicsCard({ device: 0x2222 })])]));

interface Boot {
  /** What firmware did, and who would answer at 0xa_0000 after it. */
  readonly steps: readonly string[];
  readonly conflicts: number;
  /** Bytes of each card's own drawing that it shows. */
  readonly right: readonly number[];
  /** Bytes of the second card's drawing that the first shows. */
  readonly wrong: number;
}

/** Starts both cards: with the ranges for one at a time, or with all bridges open. */
const boot = (stage: Stage, machine: Machine, routed: boolean): Boot => {
  const { complex } = machine;
  // No byte of the two drawings is equal, nor 0 as in empty video memory.
  const first = Uint8Array.from({ length: DRAWN }, () => 1 + stage.random.below(0x7f));
  const drawings = [first, first.map((byte) => byte ^ 0xff)];
  let [started, conflicts] = [0, 0];
  const videoBios = (): void => {
    setTextMode(complex);
    const watch = watchConflicts(machine);
    for (const [i, byte] of (drawings[started++] ?? []).entries()) machine.map.write8(TEXT_SCREEN + PLACE + i, byte);
    watch.stop();
    conflicts += watch.count();
  };
  const steps = routed ? bootBios(complex, { hooks: { 1: videoBios } }).steps.map(({ action, device, owners }) => `${action} ${formatAddress(device)}: ${owners.map(formatAddress).join(" and ")}`) : bootAllOpen(machine, videoBios);
  const shows = (address: string, drawing: number): number => {
    const card = cardAt(machine, address);
    return drawings[drawing]?.filter((byte, i) => shownText(card, PLACE + i) === byte).length ?? 0;
  };
  return { steps, conflicts, right: [shows(FIRST, 0), shows(SECOND, 1)], wrong: shows(FIRST, 1) };
};

const bootAllOpen = (machine: Machine, videoBios: () => void): string[] => {
  const { complex } = machine;
  for (const address of [FIRST, SECOND]) decodeLegacy(machine.at(address));
  return [FIRST, SECOND].map((address) => {
    videoBios();
    return `run-vbios ${address}: ${ownersOf(complex, displaysOf(complex)).map(formatAddress).join(" and ")}`;
  });
};

const STEPS = [
  `choose ${FIRST}: ${FIRST}`, `route ${FIRST}: ${FIRST}`, `copy-rom ${FIRST}: ${FIRST}`, `run-vbios ${FIRST}: ${FIRST}`,
  `route ${SECOND}: ${SECOND}`, `copy-rom ${SECOND}: ${SECOND}`, `run-vbios ${SECOND}: ${SECOND}`,
  `route ${FIRST}: ${FIRST}`, `copy-rom ${FIRST}: ${FIRST}`,
];

const bootBothWays = (stage: Stage): void => {
  stage.say("Two graphics cards want the same addresses, 0xa0000 to 0xbffff and ports 0x3b0 to 0x3df. Each has a video BIOS that knows no others.");
  const open = boot(stage, twoCards(stage, "all bridges open"), false);
  stage.say(`With both bridges open, both cards answer: ${open.conflicts} conflicts, and the ${open.wrong} bytes that the second video BIOS draws are on the first card.`);
  stage.check("open-owners", { protected: false, expected: [FIRST, SECOND].map((each) => `run-vbios ${each}: ${FIRST} and ${SECOND}`), actual: open.steps });
  stage.check("open-conflicts", { protected: false, expected: 2 * DRAWN, actual: open.conflicts });
  stage.check("open-wrong-card", { protected: false, expected: DRAWN, actual: open.wrong });
  stage.check("open-right-cards", { protected: false, expected: [0, 0], actual: open.right });

  const routed = boot(stage, twoCards(stage, "one bridge open"), stage.has("bridge-routing"));
  stage.say("A BIOS opens one bridge at a time: the first card starts, then the second one gets the ranges and starts, then they go back. In no step do two cards answer.");
  stage.check("boot-owners", { protected: true, expected: STEPS, actual: routed.steps });
  stage.check("boot-conflicts", { protected: true, expected: 0, actual: routed.conflicts });
  stage.check("boot-wrong-card", { protected: true, expected: 0, actual: routed.wrong });
  stage.check("boot-right-cards", { protected: true, expected: [DRAWN, DRAWN], actual: routed.right });
  stage.count("conflicts", open.conflicts + routed.conflicts);
};

/** S22: several cards and one set of addresses. */
export const vgaCurse: Scenario = {
  name: "vga-curse",
  title: "Two graphics cards, one window",
  about: "Every VGA card answers to the same addresses. Two of them boot under a BIOS, are handed the ranges in turn, get their drivers, and give the ranges up; with all bridges open, or without the arbiter, what is drawn is on the wrong card.",
  covers: ["R61", "R62", "R63", "R64", "R67"],
  protections: {
    "bridge-routing": ["boot-owners", "boot-conflicts", "boot-wrong-card", "boot-right-cards"],
    arbiter: ["arbiter-own-bytes", "arbiter-strays", "arbiter-switches"],
    "card-switch": ["switch-method", "switch-bar-bytes"],
  },
  run: (stage) => {
    bootBothWays(stage);
    shadowAndWindow(stage, twoCards(stage, "shadow and window"), FIRST);
    nativeDrivers(stage, () => twoCards(stage, "drivers"), [FIRST, SECOND]);
  },
};
