import type { Hpa } from "@iommu-lab/memory";
import type { Register } from "@iommu-lab/memory/registers";
import { AmdIommu, type AmdCapabilities, type AmdIommuOptions } from "@iommu-lab/iommu-amd/hardware";
import { CMD_BASE, CONTROL, DEV_TAB_BASE, EVT_BASE, EVT_HEAD, EVT_TAIL, GA_BASE } from "@iommu-lab/iommu-amd/layouts";
import { Tables, type Fields } from "./tables.ts";

const DEVICE_TABLE: Hpa = 0x10_0000;
export const COMMANDS: Hpa = 0x40_0000;
const EVENTS: Hpa = 0x41_0000;
const GA_LOG: Hpa = 0x43_0000;
const FIRST_TABLE_PAGE = 0x500;
/** log2 of the rings' entries: the smallest that the hardware takes. */
const RING = 8;
export const RING_ENTRIES = 2 ** RING;
/** 512 pages hold an entry for each of 65536 devices. */
const TABLE_PAGES = 512;

/** An AMD IOMMU in front of memory, and software that writes its registers. */
export class AmdBench extends Tables {
  readonly iommu: AmdIommu;

  constructor(capabilities: AmdCapabilities, options: Pick<AmdIommuOptions, "caches" | "iotlb"> = {}) {
    super(FIRST_TABLE_PAGE);
    this.iommu = new AmdIommu({ memory: this.memory, capabilities, ...options });
  }

  write(register: Register, fields: Fields): void {
    const words = register.layout.encode(fields, new Uint32Array(2));
    this.iommu.registers.write64(register.offset, words[0] ?? 0, words[1] ?? 0);
  }

  read<R extends Register>(register: R): Record<keyof R["fields"] & string, number> {
    const words = new Uint32Array(2);
    this.iommu.registers.read64(register.offset, words);
    return register.layout.decode(words) as Record<keyof R["fields"] & string, number>;
  }

  /** Where a device's entry is. */
  entryOf(device: number): Hpa {
    return DEVICE_TABLE + 32 * device;
  }

  /** Gives tables and rings to the hardware and switches everything on. */
  start(control: Fields = {}): void {
    this.write(DEV_TAB_BASE, { DevTabBase: DEVICE_TABLE / 4096, Size: TABLE_PAGES - 1 });
    this.write(CMD_BASE, { Base: COMMANDS / 4096, Len: RING });
    this.write(EVT_BASE, { Base: EVENTS / 4096, Len: RING });
    this.write(GA_BASE, { Base: GA_LOG / 4096, Len: RING });
    this.write(CONTROL, { IommuEn: 1, CmdBufEn: 1, EventLogEn: 1, ...control });
  }

  /** Events that software has not taken yet, oldest first. */
  events(): readonly Uint32Array[] {
    const found: Uint32Array[] = [];
    const tail = this.read(EVT_TAIL).Ptr;
    for (let at = this.read(EVT_HEAD).Ptr; at !== tail; at = (at + 1) % RING_ENTRIES) found.push(this.words(EVENTS + 16 * at, 4));
    return found;
  }

  takeEvents(): void {
    this.write(EVT_HEAD, { Ptr: this.read(EVT_TAIL).Ptr });
  }
}
