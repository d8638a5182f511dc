import { formatAddress } from "@iommu-lab/pci-bus";
import { bootBios, displaysOf, LEGACY_RESOURCES, loadNativeDriver, ownersOf, showText, type VgaDevice } from "@iommu-lab/vga-arbiter";
import type { Machine } from "../machine/machine.ts";
import { cardAt, displayLaboratory, graphicsCard, shownText, TEXT_SCREEN } from "./graphics-cards.ts";
import { barOf } from "./host-driver.ts";
import { slot } from "./laboratory.ts";
import type { Stage } from "./stage.ts";

const STORES = 64;
/** Where each driver draws on its card's text screen: behind what firmware wrote. */
const AREAS = [0x400, 0x800] as const;

/** The arbiter's view of the displays, in their order. @throws RangeError when there are fewer than two */
const twoDisplays = (machine: Machine): readonly [VgaDevice, VgaDevice] => {
  const [first, second] = machine.kernel.vga.states;
  if (!first || !second) throw new RangeError("This machine has no two displays.");
  return [first.device, second.device];
};

/** Two VGA drivers draw in turns, each asking the arbiter for every store, or nobody. */
const drawInTurns = (stage: Stage, machine: Machine, addresses: readonly string[], order: readonly number[], arbitrated: boolean): { readonly own: readonly number[]; readonly strays: number; readonly switches: number } => {
  bootBios(machine.complex);
  const devices = twoDisplays(machine);
  const { vga } = machine.kernel;
  const done = [0, 0];
  for (const turn of order) {
    const device = devices[turn] as VgaDevice; // an order of two
    if (arbitrated) vga.tryGet(device, LEGACY_RESOURCES);
    machine.map.write8(TEXT_SCREEN + (AREAS[turn] ?? 0) + (done[turn] ?? 0), 1 + stage.random.below(255));
    done[turn] = (done[turn] ?? 0) + 1;
    if (arbitrated) vga.put(device, LEGACY_RESOURCES);
  }
  const drawn = (card: number, area: number): number => Array.from({ length: STORES }, (_, i) => shownText(cardAt(machine, addresses[card] ?? ""), (AREAS[area] ?? 0) + i)).filter((byte) => byte !== 0).length;
  return { own: [drawn(0, 0), drawn(1, 1)], strays: drawn(0, 1) + drawn(1, 0), switches: vga.ownerChanges };
};

/** How often the ranges change hands, from the first card on. */
const switchesIn = (order: readonly number[]): number => order.filter((turn, i) => turn !== (i === 0 ? 0 : order[i - 1])).length;

const arbitration = (stage: Stage, make: () => Machine, addresses: readonly string[]): void => {
  const order = Array.from({ length: STORES }, () => stage.random.below(2));
  const of = (card: number): number => order.filter((turn) => turn === card).length;
  const open = drawInTurns(stage, make(), addresses, order, false);
  stage.say(`The operating system has a VGA driver for each card; they make ${STORES} stores, in turns. Without the arbiter all of them reach the card that has the ranges: ${open.strays} on the wrong one.`);
  stage.check("open-own-bytes", { protected: false, expected: [of(0), 0], actual: open.own });
  stage.check("open-strays", { protected: false, expected: of(1), actual: open.strays });
  const guarded = drawInTurns(stage, make(), addresses, order, stage.has("arbiter"));
  stage.say(`With the arbiter each driver locks the ranges first: every store is on its own card, and the ranges change hands ${guarded.switches} times.`);
  stage.check("arbiter-own-bytes", { protected: true, expected: [of(0), of(1)], actual: guarded.own });
  stage.check("arbiter-strays", { protected: true, expected: 0, actual: guarded.strays });
  stage.check("arbiter-switches", { protected: true, expected: switchesIn(order), actual: guarded.switches });
  stage.count("stores on the wrong card", open.strays + guarded.strays);
};

/** Who answers in the window from power-on to the native driver, and what the first card shows then: R63. */
const timeline = (stage: Stage, machine: Machine, [first]: readonly string[]): void => {
  const { complex } = machine;
  const card = cardAt(machine, first ?? "");
  const now = (): string => {
    const owners = ownersOf(complex, displaysOf(complex)).map(formatAddress);
    return `${owners.length > 0 ? owners.join(" and ") : "nobody"}, ${String.fromCharCode(...[0, 2, 4, 6].map((at) => shownText(card, at)))}`;
  };
  bootBios(complex);
  const seen = [now()];
  const [device] = twoDisplays(machine);
  const { vga } = machine.kernel;
  showText(complex, "LOAD");
  seen.push(now());
  vga.tryGet(device, LEGACY_RESOURCES);
  showText(complex, "TEXT");
  vga.put(device, LEGACY_RESOURCES);
  seen.push(now());
  loadNativeDriver(complex, vga, device);
  showText(complex, "LATE");
  seen.push(now());
  stage.say("Firmware, the boot loader and a VGA driver write to the window, one after the other. Then the card's own driver switches legacy decoding off: nobody answers there any more.");
  stage.check("timeline", { protected: true, expected: [`${first}, BIOS`, `${first}, LOAD`, `${first}, TEXT`, "nobody, TEXT"], actual: seen });
  stage.check("cards-that-decode", { protected: true, expected: 1, actual: vga.decodeCount });
};

/** A display on the root bus, where no bridge can keep the ranges from it, beside a card behind a port. */
const besideRootDisplay = (stage: Stage, name: string, vendor: number): Machine =>
  stage.machine(name, displayLaboratory([graphicsCard({ at: "02.0", vendor, capabilities: {} }), slot("1c.0", 1, [graphicsCard()])]));

/** Stores through the root display's frame buffer that arrive. */
const barBytes = (stage: Stage, machine: Machine): number => {
  const card = cardAt(machine, "0000:00:02.0");
  const base = barOf(machine.at("0000:00:02.0"), 0);
  card.memory.bytes.fill(0, 0, STORES);
  for (let i = 0; i < STORES; i++) machine.map.write8(base + i, 1 + stage.random.below(255));
  return card.memory.bytes.subarray(0, STORES).filter((byte) => byte !== 0).length;
};

/** Loads the root display's driver, gives the ranges to the other card, and looks whether the BAR still works; then gives them back. */
const stopDecoding = (stage: Stage, machine: Machine): { readonly method: string; readonly during: number; readonly after: number } => {
  const { complex } = machine;
  bootBios(complex);
  const [root, other] = twoDisplays(machine);
  const { vga } = machine.kernel;
  const { method } = loadNativeDriver(complex, vga, root);
  vga.tryGet(other, LEGACY_RESOURCES);
  const during = barBytes(stage, machine);
  vga.put(other, LEGACY_RESOURCES);
  vga.tryGet(root, LEGACY_RESOURCES);
  return { method, during, after: barBytes(stage, machine) };
};

/** R67. */
const twoWaysToStop = (stage: Stage): void => {
  const [AMD, INTEL] = [0x1002, 0x8086];
  const dead = stopDecoding(stage, besideRootDisplay(stage, "command register", INTEL));
  stage.say(`A card can be kept from the ranges in two ways. Where its own switch does not work, only its command register does, and its BARs go with it: while another card has the ranges, ${dead.during} of ${STORES} stores of its driver arrive.`);
  stage.check("command-register-method", { protected: false, expected: "command-register", actual: dead.method });
  stage.check("command-register-bar-bytes", { protected: false, expected: 0, actual: dead.during });
  stage.check("command-register-bar-bytes-after", { protected: false, expected: STORES, actual: dead.after });
  const live = stopDecoding(stage, besideRootDisplay(stage, "card's switch", stage.has("card-switch") ? AMD : INTEL));
  stage.say(`With a switch of its own it only becomes deaf for the ranges: ${live.during} of ${STORES} stores arrive.`);
  stage.check("switch-method", { protected: true, expected: "card-switch", actual: live.method });
  stage.check("switch-bar-bytes", { protected: true, expected: STORES, actual: live.during });
};

/** After the boot: the arbiter between two drivers, the native driver, and the ways to stop decoding. */
export const nativeDrivers = (stage: Stage, make: () => Machine, addresses: readonly string[]): void => {
  arbitration(stage, make, addresses);
  timeline(stage, make(), addresses);
  twoWaysToStop(stage);
};
