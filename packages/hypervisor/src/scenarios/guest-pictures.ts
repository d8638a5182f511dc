import { bootBios, LEGACY_RESOURCES, romVerdict, VgaResource, type VgaCard, type VgaDevice } from "@iommu-lab/vga-arbiter";
import type { Machine } from "../machine/machine.ts";
import { AssignedVga } from "../vm/assigned-vga.ts";
import { Passthrough } from "../vm/passthrough.ts";
import type { Vcpu } from "../vm/vcpu.ts";
import { VirtualMachine } from "../vm/virtual-machine.ts";
import { cardAt, graphicsCard, GRAPHICS_SCREEN, SIXTEEN_COLORS } from "./graphics-cards.ts";
import { barOf } from "./host-driver.ts";
import { laboratory, slot } from "./laboratory.ts";
import type { Stage } from "./stage.ts";

/** Stores that the firmware of a guest makes to its screen. */
export const POINTS = 64;
const [INTEGRATED, ASSIGNED, OTHER] = ["0000:00:02.0", "0000:01:00.0", "0000:02:00.0"] as const;
const INTEL = 0x8086;
const VM_MEMORY = 2 ** 20;
/** Where the guest sees its card: 00:02.0. */
const GUEST_SLOT = 0x10;
/** What is drawn. */
const POINT = 0x11;

/** Where the points of a guest are. */
export interface Picture {
  /** On its own card. */
  readonly own: number;
  /** On the host's display. */
  readonly strays: number;
}

/** A host with a card for a VM. */
export interface PictureHost {
  /** The host's display is integrated graphics, or else another card. */
  readonly igd: boolean;
  readonly ids: { readonly vendor: number; readonly device: number };
  /** The card's ROM has one. */
  readonly uefiDriver: boolean;
}

const hostWith = (stage: Stage, name: string, { igd, ids, uefiDriver }: PictureHost): Machine => {
  const card = slot("1c.0", 1, [graphicsCard({ ...ids, rom: uefiDriver ? ["legacy", "efi"] : ["legacy"] })]);
  const display = igd ? graphicsCard({ at: "02.0", vendor: INTEL, device: 0x0162, capabilities: {} }) : slot("1d.0", 2, [graphicsCard()]);
  const machine = stage.machine(name, laboratory({ firmware: { kind: "bios", bootDisplay: igd ? INTEGRATED : OTHER }, memory: 2 ** 26, functions: igd ? [display, card] : [card, display] }));
  bootBios(machine.complex, { primary: machine.at(igd ? INTEGRATED : OTHER).address });
  return machine;
};

const displayAt = (machine: Machine, address: string): VgaDevice => {
  const { requester } = machine.at(address).address;
  const state = machine.kernel.vga.states.find(({ device }) => device.address.requester === requester);
  if (!state) throw new RangeError(`The arbiter has no display at ${address}.`);
  return state.device;
};

/** What firmware of a guest draws: BIOS through the legacy ranges, UEFI through the card's BAR where its ROM has a driver. */
const drawAsFirmware = (vm: VirtualMachine, { romBytes }: VgaCard, firmware: "bios" | "uefi"): void => {
  const cpu = vm.vcpus[0] as Vcpu; // every VM has a processor
  if (firmware === "bios") {
    for (const { port, size, value } of SIXTEEN_COLORS) cpu.out(port, size, value);
    for (let i = 0; i < POINTS; i++) cpu.store(GRAPHICS_SCREEN + i, 1, POINT);
    return;
  }
  const seat = vm.complex.find({ domain: 0, requester: GUEST_SLOT });
  // Every fourth byte is plane 0's.
  if (seat && romBytes && romVerdict(romBytes).ovmf === "yes") for (let i = 0; i < POINTS; i++) cpu.store(barOf(seat, 0) + 4 * i, 1, POINT);
};

/** A VM gets the card by VFIO, with its VGA ranges, draws, and gives it back. */
const runGuest = (machine: Machine, firmware: "bios" | "uefi"): void => {
  const vm = new VirtualMachine(machine, { name: `guest with ${firmware}`, memory: VM_MEMORY });
  const passthrough = new Passthrough(vm);
  passthrough.assign(ASSIGNED, GUEST_SLOT);
  vm.boot();
  vm.passVga(new AssignedVga(machine, displayAt(machine, ASSIGNED), machine.kernel.vga));
  drawAsFirmware(vm, cardAt(machine, ASSIGNED), firmware);
  passthrough.release();
};

const pointsOn = ({ memory }: VgaCard): number => Array.from({ length: POINTS }, (_, i) => memory.readPlane(0, i)).filter((byte) => byte === POINT).length;

const pictureOf = (machine: Machine, igd: boolean, firmware: "bios" | "uefi"): Picture => {
  const [card, display] = [cardAt(machine, ASSIGNED), cardAt(machine, igd ? INTEGRATED : OTHER)];
  for (const { memory } of [card, display]) memory.bytes.fill(0);
  runGuest(machine, firmware);
  return { own: pointsOn(card), strays: pointsOn(display) };
};

/**
 * What guests draw with each firmware, on a host of 2015: the driver of integrated graphics tells the arbiter that it decodes no
 * legacy range, so as not to lose its BARs, and the hardware goes on to decode them.
 */
export const guestPictures = (stage: Stage, host: PictureHost & { readonly firmware: readonly ("bios" | "uefi")[] }): readonly Picture[] => {
  const machine = hostWith(stage, `${host.igd ? "integrated graphics" : "another card"}, ${host.ids.device.toString(16)}`, host);
  if (host.igd) machine.kernel.vga.setLegacyDecoding(displayAt(machine, INTEGRATED), VgaResource.None);
  return host.firmware.map((firmware) => pictureOf(machine, host.igd, firmware));
};

/** A host whose drivers leave integrated graphics alone: what a guest with a BIOS draws, and how many stores to integrated graphics arrive meanwhile. */
export const modernHost = (stage: Stage, ids: PictureHost["ids"]): { readonly picture: Picture; readonly hostBytes: number } => {
  const machine = hostWith(stage, "integrated graphics released", { igd: true, ids, uefiDriver: false });
  const picture = pictureOf(machine, true, "bios");
  machine.kernel.vga.tryGet(displayAt(machine, ASSIGNED), LEGACY_RESOURCES);
  const base = barOf(machine.at(INTEGRATED), 0);
  const { memory } = cardAt(machine, INTEGRATED);
  for (let i = 0; i < POINTS; i++) machine.map.write8(base + i, 0x22);
  return { picture, hostBytes: memory.bytes.subarray(0, POINTS).filter((byte) => byte === 0x22).length };
};
