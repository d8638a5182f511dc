import type { Entry } from "../../text/words.ts";

/** A program to begin with. */
export interface Program {
  readonly id: string;
  readonly title: Entry;
  readonly source: string;
}

/** Programs of the gallery; a test runs every one. */
export const PROGRAMS: readonly Program[] = [
  {
    id: "first-dma",
    title: ["A machine, a mapping, a DMA", "Una máquina, una asignación, un DMA", "一台机器、一个映射、一次 DMA"],
    source: `import { laboratory, print, scenario } from "@iommu-lab/playground";
import { Access } from "@iommu-lab/pci-bus";

scenario("A mapping and a DMA", (stage) => {
  const machine = stage.machine("mine", laboratory());
  const card = machine.at("0000:01:00.0");
  const domain = machine.kernel.defaultDomainOf(card.address);
  if (!domain) throw new Error("no domain");

  const frame = machine.frames.allocate() * 4096;
  domain.map(0x10_0000, frame, 4096, Access.Read | Access.Write);
  stage.say("IOVA 0x100000 leads to a page of memory; 0x200000 leads nowhere.");

  card.port.dmaWrite(0x10_0000, Uint8Array.of(1, 2, 3, 4));
  card.port.dmaWrite(0x20_0000, Uint8Array.of(5, 6, 7, 8));
  machine.kernel.service();

  stage.check("written", { protected: true, expected: 0x04030201, actual: machine.memory.read32(frame) });
  stage.check("faults", { protected: true, expected: 1, actual: machine.kernel.faults.length });
  print("The page holds", machine.memory.read32(frame).toString(16));
  for (const fault of machine.kernel.faults) print(fault.text, fault.address);
});
`,
  },
  {
    id: "stale-entry",
    title: ["How long does a mapping live?", "¿Cuánto vive una asignación?", "一个映射能活多久？"],
    source: `import { laboratory, print, scenario } from "@iommu-lab/playground";
import { Access } from "@iommu-lab/pci-bus";

scenario("Unmapped, then asked again", (stage) => {
  const machine = stage.machine("mine", laboratory({ iommus: [{ caches: "adversarial" }] }));
  const card = machine.at("0000:01:00.0");
  const domain = machine.kernel.defaultDomainOf(card.address);
  if (!domain) throw new Error("no domain");
  const frame = machine.frames.allocate() * 4096;

  domain.map(0x10_0000, frame, 4096, Access.Read | Access.Write);
  card.port.dmaWrite(0x10_0000, Uint8Array.of(1, 1, 1, 1));
  domain.unmap(0x10_0000, 4096);
  card.port.dmaWrite(0x10_0000, Uint8Array.of(2, 2, 2, 2));
  print("After unmap, before the invalidation:", machine.memory.read32(frame).toString(16));

  domain.flush();
  card.port.dmaWrite(0x10_0000, Uint8Array.of(3, 3, 3, 3));
  print("After the invalidation:", machine.memory.read32(frame).toString(16));
  stage.check("stale", { protected: false, expected: 0x02020202, actual: machine.memory.read32(frame) });
});
`,
  },
  {
    id: "groups-by-acs",
    title: ["Groups with ACS and without", "Grupos con ACS y sin él", "有无 ACS 的分组"],
    source: `import { CARD, laboratory, print, scenario, slot } from "@iommu-lab/playground";
import { formatAddress } from "@iommu-lab/pci-bus";

scenario("Two machines, one bit apart", (stage) => {
  for (const acs of [true, false]) {
    const machine = stage.machine(acs ? "with ACS" : "without ACS", laboratory({
      functions: [slot("01.0", 1, [CARD], { acs }), slot("01.1", 2, [CARD], { acs })],
    }));
    stage.say(acs ? "Both root ports redirect requests." : "Neither root port does.");
    for (const { members } of machine.kernel.groups) print(acs, members.map(formatAddress).join(" "));
  }
});
`,
  },
  {
    id: "page-sizes",
    title: ["Which page sizes a domain takes", "Qué tamaños de página acepta un dominio", "域支持哪些页大小"],
    source: `import { laboratory, print, scenario } from "@iommu-lab/playground";
import { Access } from "@iommu-lab/pci-bus";

scenario("Large pages", (stage) => {
  for (const superpages of stage.vendor === "intel" ? [true, false] : [true]) {
    const machine = stage.machine(\`superpages \${superpages}\`, laboratory({ memory: 2 ** 31, iommus: [{ superpages }] }));
    const card = machine.at("0000:01:00.0");
    const domain = machine.kernel.defaultDomainOf(card.address);
    if (!domain) throw new Error("no domain");
    domain.map(0x4000_0000, 0x1000_0000, 2 ** 21, Access.Read);
    const [unit] = machine.units;
    const before = unit?.counts().requests ?? 0;
    for (let at = 0; at < 2 ** 21; at += 4096) card.port.dmaRead(0x4000_0000 + at, new Uint8Array(64));
    print(superpages ? "2 MiB pages:" : "4 KiB pages:", (unit?.counts().requests ?? 0) - before, "requests", unit?.counts());
  }
});
`,
  },
];
