import { Access, Completion, newTranslation, NO_PASID, PageResponseCode, type Clock, type Interrupt, type PageResponse } from "@iommu-lab/pci-bus";
import { addressTranslationServices, pciExpress, PcieType } from "@iommu-lab/pci-bus/capabilities";
import { Bridge, Endpoint, enumerate, RootComplex, type EndpointOptions } from "@iommu-lab/pci-bus/model";
import { IRTE_REMAPPED } from "@iommu-lab/interrupt-remap/vtd";
import { describe, expect, test } from "vitest";
import { DEVICE_TLB_DESCRIPTOR, FSTS_REG, IQERCD_REG, IRTA_REG, PAGE_GROUP_RESPONSE_DESCRIPTOR, PQA_REG, PQH_REG, PQT_REG } from "../../src/layouts/index.ts";
import { DID, INTERRUPT_TABLE, invalidateIotlb, scalableRig } from "./rig.ts";

const REQUESTER = 0x0100;
const PAGE = 0x5; // arbitrary
const HOST = 0x8099; // arbitrary

/** Time that a test moves by hand. */
class ManualClock implements Clock {
  now = 0;
  #waiting: { readonly due: number; readonly action: () => void }[] = [];
  after(delay: number, action: () => void): () => void {
    const entry = { due: this.now + delay, action };
    this.#waiting.push(entry);
    return () => {
      this.#waiting = this.#waiting.filter((each) => each !== entry);
    };
  }
  advance(by: number): void {
    this.now += by;
    const due = this.#waiting.filter((each) => each.due <= this.now);
    this.#waiting = this.#waiting.filter((each) => each.due > this.now);
    for (const { action } of due) action();
  }
}

interface OnBus {
  readonly rig: ReturnType<typeof scalableRig>;
  readonly endpoint: Endpoint;
  readonly clock: ManualClock;
  readonly delivered: Interrupt[];
}

/** A unit on a real bus: a root port, and below it an endpoint with a device-TLB, at 01:00.0. */
const onBus = (options: EndpointOptions = {}, context: Record<string, number> = { DTE: 1, PRE: 1, PASIDE: 1 }): OnBus => {
  const rig = scalableRig({ start: false });
  rig.scalableContext({ PASIDDIRPTR: rig.at.directory >>> 12, ...context }, REQUESTER);
  rig.start(1).queue({ wide: true });
  const clock = new ManualClock();
  const delivered: Interrupt[] = [];
  const complex = new RootComplex({ memory: rig.memory, clock, interrupts: { deliver: (interrupt) => delivered.push({ ...interrupt }), post: () => undefined } });
  const port = new Bridge("root-port");
  const endpoint = new Endpoint(
    { vendor: 0x1af4, device: 0x1234, classCode: 0x02_0000, header: 0, bars: [], capabilities: [pciExpress({ type: PcieType.Endpoint }), addressTranslationServices()] },
    options,
  );
  complex.addHostBridge().bus.plug(port, 0x08);
  port.secondary.plug(endpoint, 0);
  enumerate(complex);
  complex.addIommu(rig.unit);
  complex.configWrite({ domain: 0, requester: REQUESTER }, endpoint.config.extendedCapability(0x0f) + 6, 2, 0x8000);
  return { rig, endpoint, clock, delivered };
};

const deviceTlb = (page: number): Uint32Array => DEVICE_TLB_DESCRIPTOR.encode({ TYPE: 3, SID: REQUESTER, ADDR: page });

describe("device-TLB from end to end (VT-d §4, PCIe §10)", () => {
  test("a function translates once, writes translated, and forgets when the queue says so", () => {
    const { rig, endpoint } = onBus();
    rig.mapSecond(rig.second, PAGE, HOST);
    expect(endpoint.write(PAGE * 4096 + 8, Uint8Array.of(1, 2))).toBe(Completion.Successful);
    expect([rig.memory.read16(HOST * 4096 + 8), endpoint.atc?.entries.length]).toEqual([0x0201, 1]);
    rig.mapSecond(rig.second, PAGE, HOST, { leaf: { R: 0, W: 0 } });
    rig.submit(invalidateIotlb({ G: 3, DID, ADDR: PAGE }), rig.wait());
    expect(endpoint.write(PAGE * 4096 + 8, Uint8Array.of(3, 4))).toBe(Completion.Successful);
    rig.submit(deviceTlb(PAGE), rig.wait());
    expect([rig.waited, endpoint.atc?.entries.length]).toEqual([true, 0]);
    expect(endpoint.write(PAGE * 4096 + 8, Uint8Array.of(5, 6))).toBe(Completion.UnsupportedRequest);
    expect(rig.memory.read16(HOST * 4096 + 8)).toBe(0x0403);
  });
  test("a function whose context entry has no DTE gets no translations", () => {
    const { rig, endpoint } = onBus({}, { PASIDE: 1 });
    rig.mapSecond(rig.second, PAGE, HOST);
    expect(endpoint.port.translate(PAGE * 4096, Access.Read, newTranslation())).toBe(Completion.UnsupportedRequest);
    expect(rig.record()?.reason).toBe(0x44);
  });
  test("a wait holds until the function answers; one that never does runs into ITE after a minute", () => {
    const held: (() => void)[] = [];
    const { rig, clock } = onBus({ invalidated: (_, complete) => held.push(complete) });
    rig.submit(deviceTlb(PAGE), rig.wait());
    expect(rig.waited).toBe(false);
    held.shift()?.();
    expect(rig.waited).toBe(true);
    rig.submit(deviceTlb(PAGE), rig.wait());
    clock.advance(60e9 - 1);
    expect(rig.read(FSTS_REG).ITE).toBe(0);
    clock.advance(1);
    expect([rig.read(FSTS_REG).ITE, rig.read(IQERCD_REG).ITESID, rig.waited]).toEqual([1, REQUESTER, false]);
  });
});

describe("page requests from end to end (VT-d §7.4, PCIe §10.4)", () => {
  test("a function asks, software maps and answers, the access succeeds", () => {
    const responses: PageResponse[] = [];
    const { rig, endpoint } = onBus({ pageResponse: (response) => responses.push(response) });
    rig.write(PQA_REG, { PQA: 0x100 });
    expect(endpoint.write(PAGE * 4096, Uint8Array.of(1))).toBe(Completion.UnsupportedRequest);
    endpoint.port.pageRequest({ pasid: NO_PASID, page: PAGE, access: Access.Write, group: 4, last: true });
    expect([rig.read(PQT_REG).PQT, rig.memory.read32(0x10_0000) >>> 16]).toEqual([1, REQUESTER]);
    rig.mapSecond(rig.second, PAGE, HOST);
    rig.write(PQH_REG, { PQH: 1 });
    rig.submit(PAGE_GROUP_RESPONSE_DESCRIPTOR.encode({ TYPE: 9, RID: REQUESTER, PRGI: 4, RC: 0 }), rig.wait());
    expect(responses).toEqual([{ pasid: NO_PASID, group: 4, code: PageResponseCode.Success }]);
    expect(endpoint.write(PAGE * 4096, Uint8Array.of(1))).toBe(Completion.Successful);
  });
});

describe("interrupts from end to end (VT-d §5.1)", () => {
  test("a message goes through its entry; a forged one is blocked and recorded", () => {
    const { rig, endpoint, delivered } = onBus();
    rig.write(IRTA_REG, { IRTA: INTERRUPT_TABLE / 4096, S: 7, EIME: 1 });
    rig.command({ SIRTP: 1 });
    rig.command({ IRE: 1 });
    rig.put(IRTE_REMAPPED, INTERRUPT_TABLE, { P: 1, V: 0x41, DST: 2, SVT: 1, SID: REQUESTER });
    rig.put(IRTE_REMAPPED, INTERRUPT_TABLE + 16, { P: 1, V: 0x42, DST: 2, SVT: 1, SID: REQUESTER + 8 });
    expect(endpoint.port.message(0xfee0_0010, 0)).toBe(Completion.Successful);
    expect(endpoint.port.message(0xfee0_0030, 0)).toBe(Completion.UnsupportedRequest);
    expect(endpoint.port.message(0xfee0_1000, 0x43)).toBe(Completion.UnsupportedRequest);
    expect(delivered.map(({ vector, destination }) => [vector, destination])).toEqual([[0x41, 2]]);
    expect([rig.record(0)?.reason, rig.record(1)?.reason]).toEqual([0x26, 0x25]);
  });
  test("a DMA read of the interrupt range is refused", () => {
    const { rig, endpoint } = onBus({}, { PASIDE: 1 });
    rig.mapSecond(rig.second, 0xf_ee00, HOST);
    expect(endpoint.port.dmaRead(0xfee0_0000, new Uint8Array(4))).toBe(Completion.UnsupportedRequest);
  });
});
