import { FlatMemory } from "@iommu-lab/memory";
import { dmaRows } from "../../../scripts/bench/dma-copies.ts";
import { Machine } from "./machine.ts";

export const rows = dmaRows((size, fill) => {
  const memory = new FlatMemory(size);
  fill(memory.words);
  const machine = new Machine({ mode: "legacy", memory });
  const { unit, request, out } = machine;
  return { iommu: unit, request, out, memory, map: (page, host) => { machine.map(machine.second, page, host); } };
});
