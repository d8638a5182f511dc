import { parseAddress } from "@iommu-lab/pci-bus";
import { bootBios, VgaArbiterDevice, type VgaCard, type VgaDevice } from "@iommu-lab/vga-arbiter";
import type { Machine } from "../machine/machine.ts";
import { AssignedVga } from "../vm/assigned-vga.ts";
import { Passthrough } from "../vm/passthrough.ts";
import type { Vcpu } from "../vm/vcpu.ts";
import { VirtualMachine } from "../vm/virtual-machine.ts";
import { cardAt, GRAPHICS_SCREEN, SIXTEEN_COLORS, THREE_ADDRESSES, threeCards } from "./graphics-cards.ts";
import type { Scenario } from "./scenario.ts";
import type { Stage } from "./stage.ts";
import { uefiGuests } from "./uefi-guests.ts";

const STORES = 120;
const VM_MEMORY = 2 ** 20;
/** Where each guest sees its card: 00:02.0. */
const GUEST_SLOT = 0x10;
/** Port accesses that set a guest's mode. */
const MODE_PORTS = SIXTEEN_COLORS.length;
/** Nanoseconds that a process of the host keeps the ranges. */
const HOLD = 5000;
/** Each VM draws in a part of the screen of its own, so that what is on another's card shows. */
const AREA = 0x1000;
/** Where it draws while the ranges are held. */
const LATE = 0x800;

interface Player {
  readonly vm: VirtualMachine;
  readonly cpu: Vcpu;
  readonly access: AssignedVga;
  readonly card: VgaCard;
}

/** Three VMs, each with a card of the host, by VFIO, and with its VGA ranges (x-vga=on). */
const threeVms = (machine: Machine, arbitrated: boolean): readonly Player[] => {
  const { vga } = machine.kernel;
  return THREE_ADDRESSES.flatMap((address, i) => {
    const device = vga.states.find((state) => state.device.address.requester === parseAddress(address)?.requester)?.device;
    return device ? [playerOf(machine, `VM ${i + 1}`, device, address, arbitrated)] : [];
  });
};

const playerOf = (machine: Machine, name: string, device: VgaDevice, address: string, arbitrated: boolean): Player => {
  const vm = new VirtualMachine(machine, { name, memory: VM_MEMORY });
  const access = new AssignedVga(machine, device, arbitrated ? machine.kernel.vga : undefined);
  new Passthrough(vm).assign(address, GUEST_SLOT);
  vm.boot();
  vm.passVga(access);
  return { vm, cpu: vm.vcpus[0] as Vcpu, access, card: cardAt(machine, address) }; // every VM has a processor
};

const areaOf = (player: number): number => AREA * (player + 1);

/** Each guest sets its mode, as its video BIOS does: VFIO has reset the card. Then they store to their screens in the given order. */
const draw = (stage: Stage, players: readonly Player[], order: readonly number[]): void => {
  for (const { cpu } of players) for (const { port, size, value } of SIXTEEN_COLORS) cpu.out(port, size, value);
  const done = players.map(() => 0);
  for (const turn of order) {
    const at = done[turn] ?? 0;
    players[turn]?.cpu.store(GRAPHICS_SCREEN + areaOf(turn) + at, 1, 1 + stage.random.below(255));
    done[turn] = at + 1;
  }
};

/** Bytes of each VM's area that a card shows. */
const drawnOn = (card: VgaCard): number[] => THREE_ADDRESSES.map((_, player) => Array.from({ length: STORES }, (_unused, i) => card.memory.readPlane(0, areaOf(player) + i)).filter((byte) => byte !== 0).length);

interface Outcome {
  readonly own: readonly number[];
  readonly strays: number;
  readonly switches: number;
  readonly exits: readonly (readonly [number, number])[];
  /** Accesses that the cards saw through the legacy ranges: stores, ports. */
  readonly legacy: readonly [number, number];
  readonly guestRam: number;
  readonly lock: Lock;
}

interface Lock {
  /** What /dev/vga_arbiter reads while it is held. */
  readonly line: string;
  readonly waited: number;
  readonly own: boolean;
}

const play = (stage: Stage, name: string, order: readonly number[], arbitrated: boolean): Outcome => {
  const machine = stage.machine(name, threeCards("bios", ["legacy"]));
  bootBios(machine.complex);
  const players = threeVms(machine, arbitrated);
  for (const { card } of players) card.clearAccesses();
  draw(stage, players, order);
  const drawn = players.map(({ card }) => drawnOn(card));
  const sum = (numbers: readonly number[]): number => numbers.reduce((total, each) => total + each, 0);
  const own = drawn.map((each, i) => each[i] ?? 0);
  const ram = new Uint8Array(AREA * (THREE_ADDRESSES.length + 1));
  return {
    own,
    strays: sum(drawn.flat()) - sum(own),
    switches: machine.kernel.vga.ownerChanges,
    exits: players.map(({ vm }) => [vm.exits.of("mmio"), vm.exits.of("io")] as const),
    legacy: [sum(players.map(({ card }) => card.legacyAccesses.memoryWrites)), sum(players.map(({ card }) => card.legacyAccesses.ioWrites))],
    guestRam: sum(players.map(({ vm }) => { vm.memory.readInto(GRAPHICS_SCREEN, ram); return ram.filter((byte) => byte !== 0).length; })),
    lock: drawWhileHeld(machine, players),
  };
};

/** A process of the host locks the ranges for the first card; the second VM draws meanwhile. */
const drawWhileHeld = (machine: Machine, players: readonly Player[]): Lock => {
  const file = new VgaArbiterDevice(machine.kernel.vga).open();
  file.write(`target PCI:${THREE_ADDRESSES[0]}`);
  file.write("lock io+mem");
  const line = file.read().trim();
  machine.clock.after(HOLD, () => { file.write("unlock io+mem"); });
  const [, second] = players;
  second?.cpu.store(GRAPHICS_SCREEN + LATE, 1, 0x77);
  machine.settle();
  return { line, waited: second?.access.waited ?? 0, own: second?.card.memory.readPlane(0, LATE) === 0x77 };
};

/** How often the ranges change hands: from the first card on, through the setting of modes, then in the order of the stores. */
const switchesIn = (order: readonly number[]): number => {
  const turns = [...THREE_ADDRESSES.flatMap((_, i) => Array.from({ length: MODE_PORTS }, () => i)), ...order];
  return turns.filter((turn, i) => turn !== (turns[i - 1] ?? 0)).length;
};

const checkBoth = (stage: Stage, order: readonly number[], open: Outcome, guarded: Outcome): void => {
  const of = THREE_ADDRESSES.map((_, player) => order.filter((turn) => turn === player).length);
  const [first = 0, second = 0, third = 0] = of;
  const exits = of.map((stores) => [stores, MODE_PORTS]);
  const locked = `count:3,PCI:${THREE_ADDRESSES[0]},decodes=io+mem,owns=io+mem,locks=io+mem(1:1)`;
  stage.check("open-own-bytes", { protected: false, expected: [first, 0, 0], actual: open.own });
  stage.check("open-strays", { protected: false, expected: second + third, actual: open.strays });
  stage.check("open-switches", { protected: false, expected: 0, actual: open.switches });
  stage.check("open-lock", { protected: false, expected: { line: locked, waited: 0, own: false }, actual: { ...open.lock } });
  stage.check("own-bytes", { protected: true, expected: of, actual: guarded.own });
  stage.check("strays", { protected: true, expected: 0, actual: guarded.strays });
  stage.check("owner-switches", { protected: true, expected: switchesIn(order), actual: guarded.switches });
  stage.check("lock-line", { protected: true, expected: locked, actual: guarded.lock.line });
  stage.check("lock-waited", { protected: true, expected: HOLD, actual: guarded.lock.waited });
  stage.check("lock-own-card", { protected: true, expected: true, actual: guarded.lock.own });
  stage.check("exits", { protected: true, expected: exits, actual: guarded.exits });
  stage.check("legacy-accesses", { protected: true, expected: [STORES, THREE_ADDRESSES.length * MODE_PORTS], actual: guarded.legacy });
  stage.check("guest-memory", { protected: true, expected: 0, actual: guarded.guestRam });
  stage.count("stores on the wrong card", open.strays + guarded.strays);
  stage.count("owner switches", guarded.switches);
};

/** S23: VMs with VGA cards share one set of addresses. */
export const threeVmsOneWindow: Scenario = {
  name: "three-vms-one-window",
  title: "Three VMs draw through one window",
  about: "Three VMs have a legacy graphics card each, and one set of addresses to reach it by. With the host's arbiter every store reaches its own card; without it they land on whichever card has the ranges. Cards with a UEFI driver need none of that.",
  covers: ["R65", "R66"],
  protections: {
    arbiter: ["own-bytes", "strays", "owner-switches", "lock-waited", "lock-own-card"],
    "uefi-driver": ["uefi-started", "uefi-points", "uefi-without-arbiter-started", "uefi-without-arbiter-points"],
  },
  run: (stage) => {
    const order = Array.from({ length: STORES }, () => stage.random.below(THREE_ADDRESSES.length));
    stage.say(`Three VMs have a graphics card each, behind three bridges, and all three draw to 0xa0000: ${STORES} stores, in turns. Each store leaves its guest, and the hypervisor's process makes it on the host.`);
    const open = play(stage, "no arbiter", order, false);
    stage.say(`Without the arbiter the first card has the ranges all the time: ${open.strays} stores of the other VMs are on the wrong card.`);
    const guarded = play(stage, "arbiter", order, stage.has("arbiter"));
    stage.say(`With the arbiter the process locks the ranges for its card at each access: every store is on its own card, and the ranges change hands ${guarded.switches} times.`);
    stage.say(`When a process of the host keeps the ranges for ${HOLD} ns, the second VM's store waits ${guarded.lock.waited} ns, and then reaches its own card.`);
    checkBoth(stage, order, open, guarded);
    uefiGuests(stage, order);
  },
};
