import { Pages, readRegister, setRegister } from "../pages.ts";
import type { Action, Block, Program } from "../program.ts";
import { Random } from "../random.ts";
import { SMALLEST } from "./command-buffer.ts";
import { completePageRequest, completionFlush, completionInterrupt, completionStore, invalidateAll, invalidateDevice, invalidateDomain, invalidateInterrupts, invalidateIotlb, invalidatePages, prefetch, type Command } from "./commands.ts";
import { AmdMachine } from "./machine.ts";
import { COMMANDS_ENABLE, COMPLETION_INTERRUPT_ENABLE, CONTROL, IOMMU_ENABLE, Unit } from "./unit.ts";

const STATUS = 0x2020;
/** CmdBufRun and ComWaitInt; QEMU logs no events, and cannot clear ComWaitInt. */
const COMMAND_STATUS = 0x14n;
/** The function's MSI capability. */
const MSI = 0x60;

/** A command that every unit takes, with nothing in reserved fields: QEMU goes on after one that is illegal. */
const anyCommand = (random: Random): Command => {
  const id = random.below(0x1_0000);
  switch (random.below(9)) {
    case 0:
      return invalidateDevice(id);
    case 1:
      return invalidateDomain(id);
    case 2:
      return invalidatePages(id, random.wide(), random.pick([12, 13, 16, 21, 30, 39, 50, 64]), random.chance(0.5));
    case 3:
      return invalidateIotlb(id, random.below(256), random.wide());
    case 4:
      return invalidateInterrupts(id);
    case 5:
      return completePageRequest(id, random.below(512));
    case 6:
      return prefetch(id, random.below(4), random.wide() & 0xffff_ffff_f000n);
    case 7:
      return completionFlush;
    default:
      return invalidateAll;
  }
};

/** A random program on the command buffer alone. AMD-Vi §2.4. */
export const commandProgram = (seed: number): Program => {
  const random = new Random(seed);
  const pages = new Pages(random);
  const interrupts = random.chance(0.7);
  const unit = new Unit(random, pages, interrupts ? COMPLETION_INTERRUPT_ENABLE : 0n, random.pick([SMALLEST, SMALLEST, SMALLEST, 9, 10, 12, 15]));
  const { commands } = unit;
  const some = (most: number): Command[] => Array.from({ length: random.below(most) }, () => anyCommand(random));
  const status = readRegister(STATUS, random.pick([4, 8]), COMMAND_STATUS, "the event log's bits are not compared");
  /** Vector and destination of the unit's own interrupts. */
  const aim = (): Action[] => [{ op: "cfg_write", off: MSI + 4, value: 0xfee0_0000 + (random.between(0x10, 0xf0) << 12) + random.pick([0, 4]) }, { op: "cfg_write", off: MSI + 8, value: 0 }, { op: "cfg_write", off: MSI + 12, value: random.between(0x30, 0xfe) | (random.below(2) << 8) }];
  // QEMU sends whether or not ComWaitIntEn is set: without it nobody asks.
  const interrupt = (): Action[] => [...commands.submit(...some(3), ...(interrupts ? [completionInterrupt] : []), ...some(3)), { op: "irqs" }, status];
  const several = (): Action[] => {
    const page = pages.take();
    const slots = Array.from({ length: random.between(2, 12) }, () => random.below(512));
    return [...commands.submit(...slots.flatMap((slot) => [...some(3), completionStore(page * 4096 + 8 * slot, random.wide())])), { op: "mem_read", addr: page * 4096, len: 4096 }];
  };
  /** What is put into the buffer while nobody fetches is done once somebody does. */
  const paused = (bit: bigint): Action[] => [setRegister(CONTROL, 8, unit.control & ~bit), status, ...commands.put(...some(8)), ...(random.chance(0.5) ? [...commands.ring(), ...commands.look(false), setRegister(CONTROL, 8, unit.control)] : [setRegister(CONTROL, 8, unit.control), status, ...commands.ring()]), ...commands.look(), status];
  /** From the buffer's start again. QEMU does not do that by itself when its base is written. */
  const again = (): Action[] => [setRegister(CONTROL, 8, unit.control & ~COMMANDS_ENABLE), ...commands.place(), setRegister(CONTROL, 8, unit.control), ...commands.submit(...some(4))];
  const blocks: Block[] = [{ required: true, actions: [...aim(), { op: "cfg_write", off: MSI, value: 0x0081_5c05 }, ...unit.enable(), status, ...commands.submit(invalidateAll), { op: "irqs" }] }];
  for (let i = random.between(10, 40); i > 0; i--)
    blocks.push({
      required: false,
      actions: random.pick<() => Action[]>([
        () => commands.submit(...some(6)),
        () => commands.submit(...some(200)),
        () => commands.submit(...some(100)),
        interrupt, interrupt, several, aim, again,
        () => paused(COMMANDS_ENABLE),
        () => paused(IOMMU_ENABLE),
      ])(),
    });
  return { family: "amd-commands", seed, machine: new AmdMachine(), blocks };
};
