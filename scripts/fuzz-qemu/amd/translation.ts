import { Pages, setRegister, write } from "../pages.ts";
import { requesterOf, type Action, type Block, type Program } from "../program.ts";
import { Random } from "../random.ts";
import { Transfers, type Target } from "../transfers.ts";
import { invalidateAll, invalidateDevice, invalidateDomain, invalidatePages, prefetch, type Command } from "./commands.ts";
import { deviceEntry, type EnteredDevice } from "./device-entries.ts";
import { HostTable, type HostSpace, type HostTarget } from "./host-table.ts";
import { AmdMachine } from "./machine.ts";
import { CONTROL, IOMMU_ENABLE, ON_BUS_0, Unit } from "./unit.ts";

/** What QEMU tells of a transfer says whether it passed only when each page has more than an access of 4 bytes. */
const SHORTEST = 5;
/** From here on QEMU's IOTLB takes an address for another one, or for another device's: it keeps 36 bits of page number, and the DeviceID is above them. */
const CONFUSED = 1n << 48n;

type Leaf = NonNullable<HostTarget["leaf"]>;

/** A change of the tables, and what it comes to. */
interface Change {
  readonly made: readonly Action[];
  readonly undone: Action;
  /** Where the target leads then. */
  readonly memory: number | undefined;
  /** Of directories, which invalidations leave out unless asked to. */
  readonly directories: boolean;
}

/** An entry with another page. */
const placed = (entry: bigint, page: number): bigint => (entry & ~0xf_ffff_ffff_f000n) | (BigInt(page) << 12n);

/** A random program on DMA through host page tables. */
class TranslationProgram {
  readonly #random: Random;
  readonly #pages: Pages;
  readonly #unit: Unit;
  readonly #transfers: Transfers;
  readonly #domains: readonly HostSpace[];
  /** A DomainID without a table. */
  readonly #unused: number;
  readonly #devices: readonly EnteredDevice[];

  constructor(seed: number) {
    const random = (this.#random = new Random(seed));
    const pages = (this.#pages = new Pages(random));
    const unit = (this.#unit = new Unit(random, pages));
    this.#transfers = new Transfers(random, () => unit.commands.submit(invalidateAll), undefined, SHORTEST);
    const ids = new Set<number>();
    while (ids.size < 4) ids.add(random.between(0, 0xffff));
    const [unused = 0, ...used] = ids;
    this.#unused = unused;
    this.#domains = used.map((id) => new HostTable(random, pages).build(id, random.between(4, 9)));
    this.#devices = ON_BUS_0.map((bdf) => deviceEntry(random, pages, bdf, random.pick(this.#domains), unused));
  }

  blocks(): Block[] {
    const random = this.#random;
    const setup = [...this.#domains.flatMap((domain) => domain.setup), ...this.#devices.map((device) => this.#enter(device)), ...this.#unit.enable(), ...this.#transfers.flushAll()];
    const blocks: Block[] = [{ required: true, actions: setup }];
    for (let i = random.between(20, 50); i > 0; i--) {
      const kind = random.below(20);
      const device = random.pick(this.#devices);
      const actions =
        kind === 0 ? this.#offAndOn()
        : kind <= 3 ? this.#changed()
        : kind <= 5 ? this.#entered()
        : kind <= 7 ? this.#move(device, device.domain?.stray())
        : kind === 8 ? [...this.#transfers.flushAll()]
        : this.#move(device, this.#targetOf(device));
      blocks.push({ required: false, actions });
    }
    return blocks;
  }

  #enter({ bdf, words }: EnteredDevice): Action {
    return write(this.#unit.entryOf(bdf), ...words);
  }

  /** What a device may be asked to reach: a page of memory where it passes, or anything where it does not get anywhere. */
  #targetOf({ domain, passes = false }: EnteredDevice): Target | undefined {
    if (domain !== undefined) return domain.targets.length === 0 ? undefined : this.#random.pick(domain.targets);
    return passes || this.#random.chance(0.5) ? this.#identity() : this.#random.pick(this.#domains.flatMap(({ targets }) => targets));
  }

  #identity(): Target {
    const page = this.#pages.take(2);
    return { iova: BigInt(page) << 12n, size: 8192, memory: page * 4096, leaf: undefined };
  }

  /** A transfer, with nothing cached before and after where QEMU's cache is not to be trusted. */
  #move(device: EnteredDevice, target: Target | undefined, direction?: "read" | "write"): Action[] {
    if (target === undefined) return [];
    const flush = (): readonly Action[] => (target.iova < CONFUSED ? [] : this.#transfers.flushAll());
    return [...flush(), ...this.#transfers.transfer(device, target, direction), ...flush()];
  }

  /** A mapping changes, the unit is told in one of the ways that reach it, and every device of the domain looks. Then it changes back. AMD-Vi §2.4.3. */
  #changed(): Action[] {
    const random = this.#random;
    const device = random.pick(this.#devices);
    const { domain } = device;
    const targets = domain?.targets.filter(({ leaf, memory }) => leaf !== undefined && memory !== undefined) ?? [];
    if (domain === undefined || targets.length === 0) return [];
    const target = random.pick(targets);
    if (target.leaf === undefined) return [];
    const direction = random.pick(["read", "write"] as const);
    const change = target.directory !== undefined && random.chance(0.4) ? this.#otherTable(target, target.leaf, target.directory) : this.#otherLeaf(target, target.leaf);
    const after = this.#devices.filter((each) => each.domain === domain).flatMap((each) => this.#move(each, { ...target, memory: change.memory }, direction));
    // What was fetched ahead must be forgotten too; QEMU only takes note.
    const ahead = random.chance(0.4) ? this.#unit.commands.submit(prefetch(requesterOf(device.bdf), random.below(3), target.iova)) : [];
    return [...ahead, ...this.#move(device, target, direction), ...change.made, ...this.#unit.commands.submit(...this.#tell(domain, target, change.directories)), ...after, change.undone, ...this.#transfers.flushAll()];
  }

  /** A leaf that maps nothing, or with other rights, or elsewhere. */
  #otherLeaf({ memory = 0, shift, copies }: HostTarget, leaf: Leaf): Change {
    const random = this.#random;
    const set = (value: bigint): Action => write(leaf.at, ...new Array<bigint>(copies).fill(value));
    const to = (value: bigint, where: number | undefined): Change => ({ made: [set(value)], undone: set(leaf.value), memory: where, directories: false });
    const kind = random.below(4);
    if (kind === 0) return to(0n, undefined);
    if (kind === 1) return to((leaf.value & ~(3n << 61n)) | (BigInt(random.below(4)) << 61n), memory);
    if (shift !== 12) return to(leaf.value, memory);
    const page = this.#pages.take();
    return to(placed(leaf.value, page), page * 4096);
  }

  /** The directory leads to another table, where the target alone is mapped. */
  #otherTable({ memory = 0, shift, copies }: HostTarget, leaf: Leaf, directory: { readonly at: number; readonly value: bigint }): Change {
    const table = this.#pages.take();
    const page = shift === 12 ? this.#pages.take() : undefined;
    const value = page === undefined ? leaf.value : placed(leaf.value, page);
    return {
      made: [write(table * 4096 + (leaf.at & 0xfff), ...new Array<bigint>(copies).fill(value)), write(directory.at, placed(directory.value, table))],
      undone: write(directory.at, directory.value), memory: page === undefined ? memory : page * 4096, directories: true,
    };
  }

  /** Commands that make the unit forget a target's translation. */
  #tell({ id }: HostSpace, { iova, shift }: HostTarget, directories: boolean): Command[] {
    const random = this.#random;
    const range = Math.min(shift + random.below(4), 51);
    return random.pick<() => Command[]>([
      () => [invalidateAll],
      () => [invalidateDomain(id)],
      () => [invalidatePages(id, iova, shift <= 51 ? range : 64, directories || random.chance(0.5))],
      () => [invalidatePages(id, iova, shift <= 51 ? shift : 64, directories || random.chance(0.5)), invalidatePages(random.below(0x1_0000), random.wide(), 12, true)],
    ])();
  }

  /** A device has another entry for a while. AMD-Vi §2.4.2. */
  #entered(): Action[] {
    const random = this.#random;
    const old = random.pick(this.#devices);
    const other = deviceEntry(random, this.#pages, old.bdf, random.pick(this.#domains), this.#unused);
    const told = (): Action[] => this.#unit.commands.submit(invalidateDevice(requesterOf(old.bdf)), invalidateDomain(old.id), invalidateDomain(other.id));
    const before = this.#move(old, this.#targetOf(old));
    const between = Array.from({ length: random.between(1, 3) }, () => this.#move(other, this.#targetOf(other)));
    return [...before, this.#enter(other), ...told(), ...between.flat(), this.#enter(old), ...told(), ...this.#move(old, this.#targetOf(old))];
  }

  /** The unit off and on again: devices reach memory meanwhile. */
  #offAndOn(): Action[] {
    const { control } = this.#unit;
    const device = this.#random.pick(this.#devices);
    return [setRegister(CONTROL, 8, control & ~IOMMU_ENABLE), ...this.#move({ ...device, domain: undefined }, this.#identity()), setRegister(CONTROL, 8, control), ...this.#transfers.flushAll()];
  }
}

/** A random program on DMA: device table entries, host page tables, invalidation by commands. AMD-Vi §2.2. */
export const translationProgram = (seed: number): Program => ({ family: "amd-translation", seed, machine: new AmdMachine(), blocks: new TranslationProgram(seed).blocks() });
