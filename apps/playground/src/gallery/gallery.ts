import { FIRST, type AppState } from "../state/app-state.ts";
import type { Entry } from "../text/words.ts";

/** An example with an address of its own: `#/example/ID`. */
export interface Example {
  readonly id: string;
  readonly title: Entry;
  readonly about: Entry;
  readonly state: Partial<AppState>;
}

const run = (scenario: string, without: readonly string[] = []): AppState["run"] => ({ scenario, iommu: "intel", seed: 1, without });

/** Every example, as the gallery shows them. */
export const EXAMPLES: readonly Example[] = [
  {
    id: "rogue-device",
    title: ["A device writes where it may not", "Un dispositivo escribe donde no debe", "设备写入不该写的地方"],
    about: ["Step through a DMA write that the IOMMU refuses, and the same without it.", "Recorra paso a paso una escritura DMA que el IOMMU rechaza, y la misma sin él.", "逐步观察 IOMMU 拒绝的一次 DMA 写入，以及没有它时的情形。"],
    state: { view: "story", run: run("rogue-device"), step: 260 },
  },
  {
    id: "walk-nested",
    title: ["Twenty-four reads for one address", "Veinticuatro lecturas para una dirección", "一个地址，二十四次读取"],
    about: ["A guest's tables inside a host's tables: the walk as a grid.", "Tablas de un invitado dentro de las del anfitrión: el recorrido como cuadrícula.", "客户机表套在主机表中：以网格呈现的遍历。"],
    state: { view: "walk", views: { walk: { mode: "vtd-nested", at: 8 } } },
  },
  {
    id: "walk-skip",
    title: ["AMD tables that leave levels out", "Tablas de AMD que omiten niveles", "跳过级别的 AMD 表"],
    about: ["Four levels, two reads: the bits between must be 0. Set one and see.", "Cuatro niveles, dos lecturas: los bits intermedios deben ser 0. Ponga uno y mire.", "四级只读两次：中间的位须为 0。置位一个试试。"],
    state: { view: "walk", views: { walk: { mode: "amd-host-4", skip: true, address: "0x8000012678", mapped: "0x8000012678" } } },
  },
  {
    id: "unmap-without-flush",
    title: ["Unmap without flush", "Desasignar sin vaciar", "解除映射而不刷新"],
    about: ["A device writes through a translation that memory no longer holds.", "Un dispositivo escribe por una traducción que la memoria ya no contiene.", "设备经由内存中已不存在的转换写入。"],
    state: { view: "caches", views: { caches: { done: [{ do: "map", page: 0 }, { do: "read", page: 0 }, { do: "unmap", page: 0 }, { do: "write", page: 0 }] } } },
  },
  {
    id: "fault-overflow",
    title: ["When faults come faster than software reads", "Cuando los fallos llegan más rápido de lo que se leen", "故障来得比读取更快"],
    about: ["Three hundred faults, four records: what is lost, and what starts the log again.", "Trescientos fallos, cuatro registros: qué se pierde y qué reinicia el anillo.", "三百个故障，四条记录：丢失了什么，又如何恢复。"],
    state: { view: "faults", views: { faults: { done: ["readonly", "storm"] } } },
  },
  {
    id: "forged-interrupt",
    title: ["A message forged by hand", "Un mensaje falsificado a mano", "手工伪造的消息"],
    about: ["Compatibility format names any vector; remapping blocks it.", "El formato compatible nombra cualquier vector; el remapeo lo bloquea.", "兼容格式可指定任意向量；重映射将其阻止。"],
    state: { view: "interrupts", views: { interrupts: { address: 0xfee00000, data: 0x41, requester: 0x0300 } } },
  },
  {
    id: "posted-or-not",
    title: ["Thirty-two interrupts, posted or not", "Treinta y dos interrupciones, publicadas o no", "三十二次中断：投递与否"],
    about: ["One notification for all of them, and no exit: see ON, PIR and NDST.", "Un solo aviso para todas y ninguna salida: vea ON, PIR y NDST.", "全部只需一次通知，无退出：看 ON、PIR 和 NDST。"],
    state: { view: "interrupts", views: { interrupts: { posted: true, messages: 32 } } },
  },
];

/** The state of an example. */
export const exampleState = (id: string): AppState | undefined => {
  const found = EXAMPLES.find((each) => each.id === id);
  return found && { ...FIRST, ...found.state };
};
