import { bootUefi, romVerdict } from "@iommu-lab/vga-arbiter";
import type { Machine } from "../machine/machine.ts";
import { AssignedVga } from "../vm/assigned-vga.ts";
import { Passthrough } from "../vm/passthrough.ts";
import type { Vcpu } from "../vm/vcpu.ts";
import { VirtualMachine } from "../vm/virtual-machine.ts";
import { cardAt, THREE_ADDRESSES, threeCards } from "./graphics-cards.ts";
import { barOf } from "./host-driver.ts";
import type { Stage } from "./stage.ts";

const VM_MEMORY = 2 ** 20;
/** Where each guest sees its card: 00:02.0. */
const GUEST_SLOT = 0x10;
/** Bytes that the host's firmware draws on each card. */
const PICTURE = 0x1000;
const POINT = 4;

interface Guest {
  readonly vm: VirtualMachine;
  readonly cpu: Vcpu;
  /** Where its firmware put the frame buffer, guest-physical. */
  readonly frameBuffer: number;
  readonly address: string;
  /** The guest's firmware found a UEFI driver in the card's ROM. */
  readonly started: boolean;
  /** What it drew. */
  readonly points: number[];
}

const guestOf = (machine: Machine, i: number, arbitrated: boolean): Guest => {
  const address = THREE_ADDRESSES[i] ?? "";
  const vm = new VirtualMachine(machine, { name: `VM ${i + 1}`, memory: VM_MEMORY });
  const { vga } = machine.kernel;
  const device = vga.states[i]?.device;
  if (device) vm.passVga(new AssignedVga(machine, device, arbitrated ? vga : undefined));
  new Passthrough(vm).assign(address, GUEST_SLOT);
  vm.boot();
  const seat = vm.complex.find({ domain: 0, requester: GUEST_SLOT });
  const { romBytes } = cardAt(machine, address);
  return { vm, cpu: vm.vcpus[0] as Vcpu, frameBuffer: seat ? barOf(seat, 0) : 0, address, started: romBytes !== undefined && romVerdict(romBytes).ovmf === "yes", points: [] }; // every VM has a processor
};

/** Points of a guest that its own card shows. */
const shown = (machine: Machine, { address, points }: Guest): number => {
  const { bytes } = cardAt(machine, address).memory;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return points.filter((point, i) => view.getUint32(POINT * i, true) === point).length;
};

const play = (stage: Stage, id: string, order: readonly number[], arbitrated: boolean): void => {
  const machine = stage.machine(id, threeCards("uefi", stage.has("uefi-driver") ? ["legacy", "efi"] : ["legacy"]));
  const { initialised } = bootUefi(machine.complex, { pictureSize: PICTURE });
  const guests = THREE_ADDRESSES.map((_, i) => guestOf(machine, i, arbitrated));
  for (const turn of order) {
    const guest = guests[turn];
    if (!guest?.started) continue;
    const point = stage.random.word();
    guest.cpu.store(guest.frameBuffer + POINT * guest.points.length, POINT, point);
    guest.points.push(point);
  }
  const accesses = THREE_ADDRESSES.map((address) => cardAt(machine, address).legacyAccesses);
  stage.check(`${id}-started`, { protected: true, expected: THREE_ADDRESSES.length, actual: initialised.length });
  stage.check(`${id}-points`, { protected: true, expected: THREE_ADDRESSES.map((_, i) => order.filter((turn) => turn === i).length), actual: guests.map((guest) => shown(machine, guest)) });
  stage.check(`${id}-legacy-accesses`, { protected: true, expected: 0, actual: accesses.reduce((sum, each) => sum + each.memoryReads + each.memoryWrites + each.ioReads + each.ioWrites, 0) });
  stage.check(`${id}-exits`, { protected: true, expected: 0, actual: guests.reduce((sum, { vm }) => sum + vm.exits.total, 0) });
  stage.check(`${id}-switches`, { protected: true, expected: 0, actual: machine.kernel.vga.ownerChanges });
};

/** The same VMs with UEFI and cards that have a driver for it: R65. */
export const uefiGuests = (stage: Stage, order: readonly number[]): void => {
  play(stage, "uefi", order, true);
  play(stage, "uefi-without-arbiter", order, false);
  stage.say("Cards with a UEFI driver draw through their own BARs. Host and guests start them without one access to the legacy ranges, and without an exit; whether there is an arbiter makes no difference.");
};
