import { AmdInterruptFault, AmdInterruptRemapper, newAmdInterruptVerdict, type AmdInterruptFields, type AmdRemapControl } from "@iommu-lab/interrupt-remap/amd";
import type { CachePolicy, ExplanationSink, InterruptMessage, InterruptSink, InterruptVerdict } from "@iommu-lab/pci-bus";
import { EventCode } from "../layouts/index.ts";
import type { AmdCapabilities } from "./capabilities.ts";
import { EntryFault } from "./device-entry.ts";
import { LookupFailure, type DeviceTable } from "./device-table.ts";
import type { Events } from "./events.ts";
import { explainRule } from "./explain.ts";
import type { TableMemory } from "./table-memory.ts";
import type { UnitRegisters } from "./unit-registers.ts";

/** Flags in an event's second word. AMD-Vi §2.5.3. */
const I = 1 << 19;
const PR = 1 << 20;
const RZ = 1 << 23;
const TARGET_ABORT = 2 << 25;
/** Message type, data bits 10:8. */
const SMI = 2;
/** SysMgt of devices whose system management messages are all forwarded. */
const FORWARD_ALL = 1;
/** IntCtl. */
const RESERVED_CONTROL = 3;

/** With IommuEn=0 messages pass as with IV=0. */
const DISABLED: Readonly<AmdInterruptFields> = { valid: false, control: 0, tableLength: 0, tablePage: 0, ignoreUnmapped: false, suppressAll: false, initPass: false, externalPass: false, nmiPass: false, lint0Pass: false, lint1Pass: false };

/** What interrupt requests are judged with. */
export interface InterruptPorts {
  readonly registers: UnitRegisters;
  readonly memory: TableMemory;
  readonly capabilities: AmdCapabilities;
  readonly caches: CachePolicy;
  readonly devices: DeviceTable;
  readonly events: Events;
  readonly gaLog: (low: number, high: number) => void;
  readonly targetAbort: () => void;
}

/** From an interrupt message to the device's entry, through the remapper, to the event log. AMD-Vi §2.2.5. */
export class InterruptRequests {
  /** CONTROL.IommuEn. */
  enabled = false;
  smis = 0;
  blockedSmis = 0;
  readonly control: AmdRemapControl = { wideEntries: false, extended: false, guestMode: false, largeTables: false, cacheDisabled: false };
  readonly remapper: AmdInterruptRemapper;
  readonly #ports: InterruptPorts;
  readonly #verdict = newAmdInterruptVerdict();
  #filtering = false;
  #logsBlockedSmis = false;

  constructor(ports: InterruptPorts) {
    this.#ports = ports;
    const { memory, capabilities, caches, gaLog } = ports;
    this.remapper = new AmdInterruptRemapper({ memory, control: this.control, physicalAddressWidth: capabilities.physicalAddressWidth, caches, gaLog });
  }

  /** CONTROL was written. */
  update(): void {
    const { registers } = this.#ports;
    const { control } = this;
    this.enabled = registers.get("CONTROL", "IommuEn") === 1;
    control.wideEntries = registers.get("CONTROL", "GAEn") === 1;
    control.extended = registers.get("CONTROL", "XTEn") === 1;
    control.guestMode = registers.get("CONTROL", "GAMEn") === 1;
    control.largeTables = registers.get("CONTROL", "NumIntRemapMode") === 1;
    control.cacheDisabled = registers.get("CONTROL", "IRTCacheDis") === 1;
    this.#filtering = registers.get("CONTROL", "SmiFEn") === 1;
    this.#logsBlockedSmis = registers.get("CONTROL", "SmiFLogEn") === 1;
  }

  remap(message: Readonly<InterruptMessage>, sink: InterruptSink, out: InterruptVerdict, explain?: ExplanationSink): void {
    out.fault = 0;
    out.recorded = false;
    if (!this.enabled) {
      this.remapper.remap(message, DISABLED, sink, this.#verdict, explain);
      return;
    }
    const entry = this.#ports.devices.find(message.requester, explain);
    if (entry === undefined) {
      this.#noEntry(message, out);
      return;
    }
    if (entry.interruptFault !== EntryFault.None) {
      this.#refuse(message, out, EventCode.IllegalDeviceEntry, I | RZ, true);
      return;
    }
    if (((message.data >>> 8) & 7) === SMI && !(this.control.largeTables && entry.interrupt.valid)) {
      this.smis++;
      if (this.#filtering ? !this.#passesFilter(message.requester) : entry.interrupt.valid && entry.systemManagement !== FORWARD_ALL) {
        this.#blockSmi(message, out, explain);
        return;
      }
    }
    const verdict = this.#verdict;
    this.remapper.remap(message, entry.interrupt, sink, verdict, explain);
    switch (verdict.fault) {
      case 0:
        return;
      case AmdInterruptFault.PageFault:
        this.#refuse(message, out, EventCode.IoPageFault, entry.domain | I | (verdict.present ? PR : 0) | (verdict.reserved ? RZ : 0), verdict.recorded);
        return;
      case AmdInterruptFault.IllegalDeviceEntry:
        this.#refuse(message, out, EventCode.IllegalDeviceEntry, I | (entry.interrupt.control === RESERVED_CONTROL ? RZ : 0), verdict.recorded);
        return;
      case AmdInterruptFault.TableError:
        this.#fail(message, out, EventCode.PageTableHardwareError, entry.domain | I | TARGET_ABORT, verdict.address);
        return;
      default:
        out.fault = verdict.fault;
        this.#ports.targetAbort();
    }
  }

  #passesFilter(requester: number): boolean {
    const { registers, capabilities } = this.#ports;
    for (let i = 0; i < 2 ** capabilities.efr.SmiFRC; i++) if (registers.get(`SMI_FILTER_${i}`, "SmiDV") === 1 && registers.get(`SMI_FILTER_${i}`, "SmiDID") === requester) return true;
    return false;
  }

  /** An SMI that no filter, or without filters no SysMgt, lets pass. AMD-Vi §3.4 "SMI Filter Registers". */
  #blockSmi(message: Readonly<InterruptMessage>, out: InterruptVerdict, explain?: ExplanationSink): void {
    this.blockedSmis++;
    if (explain !== undefined) explainRule(explain, "SMI filter", "An SMI needs a filter register that names its device, or with SmiFEn=0 and IV=1 SysMgt = 1", 'AMD-Vi §3.4 "SMI Filter Registers"', "blocked");
    this.#refuse(message, out, EventCode.IoPageFault, I, this.#logsBlockedSmis);
  }

  /** AMD-Vi §2.5.4, §2.5.3. */
  #noEntry(message: Readonly<InterruptMessage>, out: InterruptVerdict): void {
    const { failure, failedAt } = this.#ports.devices;
    if (failure === LookupFailure.Unreadable) this.#fail(message, out, EventCode.DeviceTableHardwareError, I | TARGET_ABORT, failedAt);
    else this.#fail(message, out, EventCode.IoPageFault, I, 0);
  }

  /** Blocks a message, with an event that has its address. */
  #refuse(message: Readonly<InterruptMessage>, out: InterruptVerdict, code: number, flags: number, recorded: boolean): void {
    this.#ports.targetAbort();
    out.fault = code;
    out.recorded = recorded;
    if (recorded) this.#ports.events.log(message.requester, flags | (code << 28), message.address & ~3, Math.floor(message.address / 0x1_0000_0000));
  }

  #fail(message: Readonly<InterruptMessage>, out: InterruptVerdict, code: number, flags: number, address: number): void {
    this.#ports.targetAbort();
    out.fault = code;
    out.recorded = true;
    this.#ports.events.log(message.requester, flags | (code << 28), address | 0, Math.floor(address / 0x1_0000_0000));
  }
}
