import { PAGE_SIZE } from "@iommu-lab/memory";
import { Access, type Iommu, type IommuDomain } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import type { HostInterrupt } from "../../src/machine/host-kernel.ts";
import { SeededRandom } from "../../src/scenarios/random.ts";
import { VirtualMachine } from "../../src/vm/index.ts";
import { twoDevices } from "../machine/two-devices.ts";
import { WatchedMachine } from "./watched-machine.ts";

const VENDORS = ["intel", "amd"] as const;
const CARDS = ["01:00.0", "05:00.0"] as const;
const PAGES = 16;
/** IOVAs are the guest's addresses, some pages apart from zero. */
const IOVA = 0x100_0000;
const STEPS = 120;
const SEEDS = Array.from({ length: process.env.IOMMU_LAB_FULL ? 60 : 6 }, (_, i) => i + 1);

interface Mapping {
  readonly page: number;
  readonly runs: NonNullable<ReturnType<VirtualMachine["memory"]["pin"]>>;
  readonly hpa: number;
}

/** A guest with one card, whose memory is mapped and moved under it. */
class Tenant {
  readonly vm: VirtualMachine;
  readonly card: string;
  readonly domain: IommuDomain;
  readonly mappings = new Map<number, Mapping>();
  readonly interrupts: HostInterrupt[] = [];
  readonly taken: number[] = [];
  expected = 0;

  constructor(watched: WatchedMachine, card: string, index: number) {
    const { machine } = watched;
    this.card = card;
    this.vm = new VirtualMachine(machine, { name: `guest ${index}`, memory: PAGES * PAGE_SIZE });
    watched.vms.push(this.vm);
    const { address } = machine.at(card);
    const driver = machine.kernel.driverOf(address);
    if (!driver) throw new Error("No IOMMU is in front of the card.");
    this.domain = driver.createDomain({ kind: "paging" });
    driver.attach(address.requester, this.domain);
    const posted = machine.kernel.requestInterrupt(address, () => undefined, 0);
    const { structure, running } = this.vm.postingOf(0);
    posted.entry?.post(structure, 0x60 + index, false, running);
    this.vm.vcpus[0]?.handle(0x60 + index, () => this.taken.push(index));
    this.interrupts.push(posted, machine.kernel.requestInterrupt(address, () => undefined, 1));
  }

  map(page: number): void {
    if (this.mappings.has(page)) return;
    const runs = this.vm.memory.pin(page * PAGE_SIZE, 1) ?? [];
    const hpa = this.vm.memory.hpaOf(page * PAGE_SIZE);
    this.domain.map(IOVA + page * PAGE_SIZE, hpa, PAGE_SIZE, Access.Read | Access.Write);
    this.mappings.set(page, { page, runs, hpa });
  }

  unmap(page: number): void {
    const mapping = this.mappings.get(page);
    if (!mapping) return;
    this.domain.unmap(IOVA + page * PAGE_SIZE, PAGE_SIZE);
    this.domain.flush();
    this.vm.memory.unpin(mapping.runs);
    this.mappings.delete(page);
  }

  /** Moves a page, which only what is not mapped can be. */
  move(page: number): void {
    if (this.mappings.has(page)) expect(() => this.vm.memory.move(page)).toThrow(RangeError);
    else this.vm.memory.move(page);
  }
}

const act = (watched: WatchedMachine, tenant: Tenant, random: SeededRandom): void => {
  const { machine } = watched;
  const page = random.below(PAGES);
  const { port } = machine.at(tenant.card);
  const write = random.below(2) === 0;
  switch (random.below(8)) {
    case 0:
    case 1:
      tenant.map(page);
      break;
    case 2:
      tenant.unmap(page);
      break;
    case 3:
      tenant.move(page);
      break;
    case 4: {
      // Somewhere: mapped, unmapped, across pages, in the machine's own memory.
      const at = random.pick([IOVA + page * PAGE_SIZE, IOVA + page * PAGE_SIZE + 0xff0, tenant.vm.memory.hpaOf(page * PAGE_SIZE), machine.at(CARDS[0]).fn.config.read(0x10, 4) & 0x7fff_fff0]);
      if (write) port.dmaWrite(at, new Uint8Array(32));
      else port.dmaRead(at, new Uint8Array(32));
      break;
    }
    case 5: {
      const reachable = tenant.mappings.get(page);
      const before = watched.reached;
      const bytes = random.bytes(8);
      port.dmaWrite(IOVA + page * PAGE_SIZE, bytes);
      expect(watched.reached - before).toBe(reachable ? 1 : 0);
      const seen = new Uint8Array(8);
      tenant.vm.memory.readInto(page * PAGE_SIZE, seen);
      if (reachable) expect(seen).toEqual(bytes);
      break;
    }
    case 6: {
      const posted = tenant.interrupts[0]?.message;
      if (posted) port.message(posted.address, posted.data);
      tenant.expected++;
      tenant.vm.vcpus[0]?.takeInterrupts();
      break;
    }
    default: {
      const own = tenant.interrupts[1]?.message;
      // Its own, and somebody else's card trying it.
      if (own) machine.at(random.pick(CARDS)).port.message(own.address, own.data);
    }
  }
};

const pinsOf = (tenants: readonly Tenant[]): Map<number, number> => {
  const pins = new Map<number, number>();
  for (const { mappings } of tenants) for (const { hpa } of mappings.values()) pins.set(hpa / PAGE_SIZE, (pins.get(hpa / PAGE_SIZE) ?? 0) + 1);
  return pins;
};

describe.each(VENDORS)("random histories on a machine with an IOMMU of %s", (vendor) => {
  test.each(["none", "realistic", "adversarial"] as const)("caches: %s; after every event no DMA has passed the IOMMU by, no frame has two owners, pins are mappings, and no interrupt is lost or doubled", (caches) => {
    for (const seed of SEEDS) {
      const random = new SeededRandom(seed);
      const watched = new WatchedMachine(twoDevices(vendor, { iommus: [{ vendor, caches }] }));
      const tenants = CARDS.map((card, i) => new Tenant(watched, card, i));
      for (let step = 0; step < STEPS; step++) {
        act(watched, random.pick(tenants), random);
        expect(watched.check(pinsOf(tenants)), `seed ${seed}, step ${step}`).toEqual([]);
        // Not one step later than its unmapping: a flush has been waited for.
        for (const { from, frame } of watched.landed.splice(0)) expect([...(tenants.find(({ card }) => card === from)?.mappings.values() ?? [])].map(({ hpa }) => hpa / PAGE_SIZE), `seed ${seed}, step ${step}`).toContain(frame);
        for (const { taken, expected, vm } of tenants) expect([taken.length, vm.injected, vm.strayVectors], `seed ${seed}, step ${step}`).toEqual([expected, expected, []]);
      }
      expect(watched.reached).toBeGreaterThan(0);
      for (const tenant of tenants) for (const page of [...tenant.mappings.keys()]) tenant.unmap(page);
      expect(watched.check(new Map())).toEqual([]);
    }
  });
});

describe("the checker", () => {
  const watched = (): WatchedMachine => new WatchedMachine(twoDevices("intel"));

  test("finds a frame that is pinned and mapped by nobody, and one that two guests have", () => {
    const one = watched();
    const vm = new VirtualMachine(one.machine, { name: "guest", memory: PAGE_SIZE });
    one.vms.push(vm);
    expect(one.check(new Map())).toEqual([]);
    vm.memory.pin(0, 1);
    expect(one.check(new Map())).toMatchObject([expect.stringMatching(/pinned 1 times, and 0 mappings/)]);
    const two = watched();
    const shared = new VirtualMachine(two.machine, { name: "guest", memory: PAGE_SIZE });
    two.vms.push(shared, shared);
    expect(two.check(new Map()).join()).toMatch(/is guest's and guest's/);
  });

  test("finds an interrupt that nobody handled twice over, and one that came out of nowhere", () => {
    const one = watched();
    one.machine.processors.deliver({ vector: 0x77, deliveryMode: 0, destination: 0, destinationMode: "physical", trigger: "edge", redirectionHint: false });
    expect(one.check(new Map())).toHaveLength(1);
  });

  test("finds a request that reaches memory without an IOMMU on its way", () => {
    const one = watched();
    const { address } = one.machine.at(CARDS[0]);
    one.hop({ at: address.requester, domain: 0, kind: "endpoint", decision: "sent", rule: "" });
    one.hop({ at: "root", domain: 0, kind: "root-complex", decision: "memory", rule: "" });
    one.request({ from: address, address: 0n, length: 4, write: true, completion: 0, hpa: 0 });
    expect(one.violations).toEqual(["0000:01:00.0 writes 0x0: past its IOMMU, to memory"]);
  });

  test("sees where an IOMMU lets a request through that nobody mapped", () => {
    const through = (iommu: Iommu): Iommu => ({
      registers: iommu.registers,
      translate: (request, out) => { Object.assign(out, { page: request.page, completion: 0, fault: 0 }); },
      remapInterrupt: (message, sink, out) => { iommu.remapInterrupt(message, sink, out); },
      pageRequest: (request) => { iommu.pageRequest(request); },
      connect: (port) => { iommu.connect(port); },
      reset: (kind) => { iommu.reset(kind); },
    });
    const one = new WatchedMachine(twoDevices("intel"), { iommu: ({ iommu }) => through(iommu) });
    one.machine.at(CARDS[0]).port.dmaWrite(IOVA, new Uint8Array(4));
    expect(one.landed).toEqual([{ from: CARDS[0], frame: IOVA / PAGE_SIZE }]);
  });
});
