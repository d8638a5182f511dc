import { DeliveryMode, type Interrupt } from "@iommu-lab/pci-bus";
import type { HostVector } from "../machine/host-processors.ts";
import type { Machine } from "../machine/machine.ts";
import { VirtualMachine } from "../vm/virtual-machine.ts";
import { laboratory } from "./laboratory.ts";
import type { Scenario } from "./scenario.ts";
import type { Stage } from "./stage.ts";

const CARD_ADDRESS = "0000:01:00.0";
/** Interrupts of each way to deliver them: 10^5 in all. */
const INTERRUPTS = { emulated: 20_000, remapped: 40_000, posted: 40_000 } as const;
/** After so many the interrupt moves to another processor. */
const MOVE_EVERY = 500;
const GUEST_VECTOR = 0x61;
const PROCESSORS = 2;
/** Nanoseconds: exits to the kernel and to the hypervisor's process, as measured on nested KVM (performance.md §1.4), posting by the processor itself. */
const COSTS = { kernelExit: 4000, userExit: 23_000, posted: 300 } as const;

type Way = keyof typeof INTERRUPTS;

interface Outcome {
  readonly sent: number;
  /** Times that the guest's handler ran. */
  readonly handled: number;
  readonly moves: number;
  readonly exits: number;
  readonly configWrites: number;
}

const interruptTo = ({ vector, processor }: HostVector): Interrupt => ({ vector, deliveryMode: DeliveryMode.Fixed, destination: processor, destinationMode: "physical", trigger: "edge", redirectionHint: false });

/** Moves an interrupt of the host to another processor while the device goes on: `meanwhile` is an interrupt between the steps. */
const migrate = (machine: Machine, old: HostVector, retarget: (interrupt: Interrupt) => void, handler: () => void, inOrder: boolean, meanwhile: () => void): HostVector => {
  const next = machine.processors.allocate((old.processor + 1) % PROCESSORS, handler);
  if (!inOrder) machine.processors.free(old);
  meanwhile();
  retarget(interruptTo(next));
  if (inOrder) machine.processors.free(old);
  return next;
};

/** A guest of two processors takes interrupts of its card, one of three ways, while they move from processor to processor. */
const flow = (stage: Stage, way: Way, inOrder: boolean, name: string): Outcome => {
  const machine = stage.machine(name, laboratory({ processors: PROCESSORS }));
  const vm = new VirtualMachine(machine, { name: "guest", memory: 2 ** 20, processors: PROCESSORS });
  const seat = machine.at(CARD_ADDRESS);
  let configWrites = 0;
  if ("onWrite" in seat.fn.config) (seat.fn.config as { onWrite(listener: () => void): unknown }).onWrite(() => configWrites++);
  let handled = 0;
  let guest = 0;
  for (const vcpu of vm.vcpus) vcpu.handle(GUEST_VECTOR, () => handled++);
  const inject = (): void => {
    // The processor leaves the guest; in emulation the kernel wakes the hypervisor's process, which asks it to inject.
    vm.exits.note("external-interrupt", "kernel");
    if (way === "emulated") vm.exits.note("interrupt-window", "user");
    vm.inject(guest, GUEST_VECTOR);
  };
  const given = machine.kernel.requestInterrupt(seat.address, inject);
  let host = given.vector;
  const post = (): void => {
    const { structure, running } = vm.postingOf(guest);
    given.entry?.post(structure, GUEST_VECTOR, false, running);
  };
  if (way === "posted") post();
  let sent = 0;
  let moves = 0;
  const send = (): void => {
    seat.port.message(given.message.address, given.message.data);
    sent++;
    for (const vcpu of vm.vcpus) vcpu.takeInterrupts();
  };
  while (sent < INTERRUPTS[way]) {
    send();
    if (sent % MOVE_EVERY !== 0) continue;
    moves++;
    guest = (guest + 1) % PROCESSORS;
    if (way === "posted") post();
    else host = migrate(machine, host, (interrupt) => given.entry?.retarget(interrupt), inject, inOrder, send);
  }
  return { sent, handled, moves, exits: vm.exits.total, configWrites };
};

const EXITS = { emulated: 2, remapped: 1, posted: 0 } as const;

/** S11: interrupts that move, and interrupts without exits. */
export const irqMigrateAndPost: Scenario = {
  name: "irq-migrate-and-post",
  title: "A hundred thousand interrupts on the move",
  about: "A guest's card interrupts while the interrupt moves from processor to processor: the remapping entry changes, the card does not, and none is lost. Emulated, each costs two exits; forwarded by the kernel one; posted none.",
  covers: ["R22", "R24", "R27"],
  protections: { "entry-before-vector": ["emulated-lost", "remapped-lost"] },
  long: true,
  run: (stage) => {
    const values: Record<string, number> = {};
    const ways = Object.keys(INTERRUPTS) as Way[];
    for (const [i, way] of ways.entries()) {
      const { sent, handled, moves, exits, configWrites } = flow(stage, way, stage.has("entry-before-vector"), way);
      stage.check(`${way}-lost`, { protected: true, expected: 0, actual: sent - handled });
      stage.check(`${way}-device-writes`, { protected: true, expected: 0, actual: configWrites });
      if (way === "posted" || sent === handled) stage.check(`${way}-exits`, { protected: way === "posted", expected: EXITS[way] * sent, actual: exits });
      stage.say(`${way}: ${INTERRUPTS[way]} interrupts and more, moved ${moves} times, ${EXITS[way]} exits each.`);
      stage.count(`${way} interrupts`, sent);
      values[way] = way === "posted" ? COSTS.posted : COSTS.kernelExit + (way === "emulated" ? COSTS.userExit : 0);
      stage.progress(i + 1, ways.length + 1);
    }
    const careless = flow(stage, "remapped", false, "vector freed first");
    stage.check("careless-lost", { protected: false, expected: careless.moves, actual: careless.sent - careless.handled });
    stage.say(`A kernel that gives the old vector up before the entry is changed loses one interrupt with every move that one falls into: ${careless.sent - careless.handled}.`);
    stage.model({ model: "exit-cost", parameters: COSTS, values });
  },
};
