import { busOf, devfnOf, type RequesterId } from "@iommu-lab/pci-bus";
import { CONTEXT_ENTRY } from "../layouts/index.ts";
import type { InvalidationCommands } from "./invalidation-commands.ts";
import type { RegisterAccess } from "./register-access.ts";
import { writeEntry, type TableFrames } from "@iommu-lab/pci-bus/paging";
import { TranslationType, WHOLE_ADDRESS_SPACE, type SourceTranslation, type UnitSources } from "./unit-sources.ts";

/** TT of a context entry. */
const UNTRANSLATED_ONLY = 0;
const WITH_DEVICE_TLB = 1;
const PASS_THROUGH = 2;

const ENTRY_WORDS = 4;

/** Root and context tables of legacy mode. VT-d §3.4.2, §9.1, §9.3. */
export class LegacySources implements UnitSources {
  readonly rootTable: number;
  readonly mode = 0;
  readonly #registers: RegisterAccess;
  readonly #frames: TableFrames;
  readonly #commands: InvalidationCommands;
  readonly #hasDeviceTlb: (requester: RequesterId) => boolean;
  readonly #contexts: (Uint32Array | undefined)[] = [];
  readonly #entry = new Uint32Array(ENTRY_WORDS);

  constructor(registers: RegisterAccess, frames: TableFrames, commands: InvalidationCommands, hasDeviceTlb: (requester: RequesterId) => boolean) {
    this.#registers = registers;
    this.#frames = frames;
    this.#commands = commands;
    this.#hasDeviceTlb = hasDeviceTlb;
    this.rootTable = frames.allocate();
  }

  attach(requester: RequesterId, _pasid: number, translation: SourceTranslation): void {
    const passThrough = translation.type === TranslationType.PassThrough;
    const entry = CONTEXT_ENTRY.encode(
      {
        P: 1,
        TT: passThrough ? PASS_THROUGH : this.#hasDeviceTlb(requester) ? WITH_DEVICE_TLB : UNTRANSLATED_ONLY,
        SSPTPTR: passThrough ? 0 : translation.table,
        AW: translation.levels - 2,
        DID: translation.domain,
      },
      this.#entry,
    );
    const words = this.#contextTable(busOf(requester));
    const at = devfnOf(requester) * ENTRY_WORDS;
    for (let i = ENTRY_WORDS - 1; i >= 0; i--) words[at + i] = entry[i] as number; // P comes last
    this.#nowPresent(requester, translation.domain);
  }

  /** The order of VT-d §6.5.3.3: context-cache, IOTLB of the domain it named, device-TLB. */
  detach(requester: RequesterId, _pasid: number, { domain }: SourceTranslation): void {
    const words = this.#contextTable(busOf(requester));
    const at = devfnOf(requester) * ENTRY_WORDS;
    words.fill(0, at, at + ENTRY_WORDS);
    const commands = this.#commands;
    commands.context(requester, domain);
    commands.domain(domain);
    if (this.#hasDeviceTlb(requester)) commands.deviceTlb(requester, 0, 0, WHOLE_ADDRESS_SPACE);
    commands.finish();
  }

  /** In caching mode the missing entry was cached under domain 0; else write buffers may hold the new one back. VT-d §6.1, §6.8. */
  #nowPresent(requester: RequesterId, domain: number): void {
    if (this.#registers.cap.CM === 0) {
      this.#registers.flushWriteBuffer();
      return;
    }
    this.#commands.context(requester, 0);
    this.#commands.domain(domain);
    this.#commands.finish();
  }

  #contextTable(bus: number): Uint32Array {
    const known = this.#contexts[bus];
    if (known !== undefined) return known;
    const page = this.#frames.allocate();
    writeEntry(this.#frames.words(this.rootTable), bus * ENTRY_WORDS, page, 1);
    return (this.#contexts[bus] = this.#frames.words(page));
  }
}
