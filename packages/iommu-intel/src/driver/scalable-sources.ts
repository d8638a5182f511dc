import { busOf, devfnOf, type RequesterId } from "@iommu-lab/pci-bus";
import { PASID_ENTRY, SCALABLE_CONTEXT_ENTRY } from "../layouts/index.ts";
import type { InvalidationCommands } from "./invalidation-commands.ts";
import type { RegisterAccess } from "./register-access.ts";
import { pageOfEntry, writeEntry, type TableFrames } from "@iommu-lab/pci-bus/paging";
import { TranslationType, WHOLE_ADDRESS_SPACE, type SourceTranslation, type UnitSources } from "./unit-sources.ts";

const CONTEXT_WORDS = 8;
const PASID_WORDS = 16;
/** PASIDs of one PASID table, which is a page. */
const PASIDS_A_TABLE = 64;
/** Directory entries of a page. */
const DIRECTORY_PAGE = 512;
/** log2 of the PASIDs of the smallest directory. VT-d §9.4 (PDTS). */
const SMALLEST_DIRECTORY = 13;

/** A requester's PASID directory. */
interface Directory {
  readonly page: number;
  /** PASID tables by directory index. */
  readonly tables: Map<number, Uint32Array>;
  /** PASIDs attached; 0 for requests without. */
  readonly attached: Set<number>;
}

/** Which functions the driver lets do what. */
export interface ScalableSourceOptions {
  readonly pasidBits: number;
  readonly deviceTlb: (requester: RequesterId) => boolean;
  readonly pageRequests: (requester: RequesterId) => boolean;
}

/**
 * Root, context and PASID tables of scalable mode. Requests without PASID use PASID 0 (RID_PASID = 0), which every unit
 * understands; so functions cannot have that one for themselves. VT-d §3.4.3, §9.2, §9.4 to §9.6.
 */
export class ScalableSources implements UnitSources {
  readonly rootTable: number;
  readonly mode = 1;
  readonly #registers: RegisterAccess;
  readonly #frames: TableFrames;
  readonly #commands: InvalidationCommands;
  readonly #options: ScalableSourceOptions;
  /** Context tables by requester >> 7: a bus has a lower and an upper one. */
  readonly #contexts: (Uint32Array | undefined)[] = [];
  readonly #directories = new Map<RequesterId, Directory>();

  constructor(registers: RegisterAccess, frames: TableFrames, commands: InvalidationCommands, options: ScalableSourceOptions) {
    this.#registers = registers;
    this.#frames = frames;
    this.#commands = commands;
    this.#options = options;
    this.rootTable = frames.allocate();
  }

  attach(requester: RequesterId, pasid: number, translation: SourceTranslation): void {
    const isNew = !this.#directories.has(requester);
    const directory = this.#directoryOf(requester);
    const entry = this.#encode(translation);
    const words = this.#tableOf(directory, pasid);
    const at = (pasid % PASIDS_A_TABLE) * PASID_WORDS;
    for (let i = PASID_WORDS - 1; i >= 0; i--) words[at + i] = entry[i] as number; // P comes last
    directory.attached.add(pasid);
    this.#nowPresent(requester, pasid, translation, isNew);
  }

  /** The order of VT-d §6.5.3.3: PASID-cache, IOTLB of the domain it named, device-TLB; then the same for the context entry. */
  detach(requester: RequesterId, pasid: number, translation: SourceTranslation): void {
    const directory = this.#directoryOf(requester);
    const words = this.#tableOf(directory, pasid);
    const at = (pasid % PASIDS_A_TABLE) * PASID_WORDS;
    words.fill(0, at, at + PASID_WORDS);
    this.#forget(pasid, translation);
    if (this.#options.deviceTlb(requester)) this.#commands.deviceTlb(requester, pasid, 0, WHOLE_ADDRESS_SPACE);
    this.#commands.finish();
    directory.attached.delete(pasid);
    if (directory.attached.size === 0) this.#drop(requester, directory);
  }

  #encode({ type, domain, table, levels, firstTable, firstLevels }: SourceTranslation): Uint32Array {
    const first = type === TranslationType.FirstStage || type === TranslationType.Nested;
    const second = type === TranslationType.SecondStage || type === TranslationType.Nested;
    return PASID_ENTRY.encode({
      P: 1,
      PGTT: type,
      DID: domain,
      PWSNP: this.#registers.ecap.SMPWCS,
      ...(second ? { AW: levels - 2, SSPTPTR: table } : {}),
      ...(first ? { FSPM: firstLevels - 4, FSPTPTR: firstTable } : {}),
    });
  }

  #forget(pasid: number, { type, domain }: SourceTranslation): void {
    this.#commands.pasid(domain, pasid);
    if (type !== TranslationType.SecondStage) this.#commands.domainPasid(domain, pasid);
    if (type === TranslationType.SecondStage || type === TranslationType.Nested) this.#commands.domain(domain);
  }

  /** In caching mode missing entries were cached; else write buffers may hold the new ones back. VT-d §6.1, §6.8. */
  #nowPresent(requester: RequesterId, pasid: number, translation: SourceTranslation, isNew: boolean): void {
    if (this.#registers.cap.CM === 0) {
      this.#registers.flushWriteBuffer();
      return;
    }
    if (isNew) this.#commands.context(requester, 0);
    this.#forget(pasid, translation);
    this.#commands.finish();
  }

  /** The last PASID went: the context entry goes, and when no cache knows it any more, what it pointed to. */
  #drop(requester: RequesterId, { page, tables }: Directory): void {
    const at = contextAt(requester);
    this.#contextTable(requester).fill(0, at, at + CONTEXT_WORDS);
    this.#commands.context(requester, 0);
    this.#commands.everyPasid();
    this.#commands.finish();
    for (const index of tables.keys()) {
      const words = this.#frames.words(page + Math.floor(index / DIRECTORY_PAGE));
      const entry = 2 * (index % DIRECTORY_PAGE);
      this.#frames.free(pageOfEntry(words[entry] as number, words[entry + 1] as number)); // in a page
    }
    this.#frames.free(page);
    this.#directories.delete(requester);
  }

  #directoryOf(requester: RequesterId): Directory {
    const known = this.#directories.get(requester);
    if (known !== undefined) return known;
    const { ecap } = this.#registers;
    const { pasidBits, deviceTlb, pageRequests } = this.#options;
    // 2^SMALLEST_DIRECTORY PASIDs need 128 entries of 8 bytes, 2^15 a page.
    const context = this.#contextTable(requester);
    const page = this.#frames.allocate(Math.max(0, pasidBits - 15));
    const entry = SCALABLE_CONTEXT_ENTRY.encode({
      P: 1,
      DTE: deviceTlb(requester) ? 1 : 0,
      PASIDE: ecap.PASID,
      PRE: pageRequests(requester) ? 1 : 0,
      PDTS: Math.max(0, pasidBits - SMALLEST_DIRECTORY),
      PASIDDIRPTR: page,
    });
    const at = contextAt(requester);
    for (let i = CONTEXT_WORDS - 1; i >= 0; i--) context[at + i] = entry[i] as number; // P comes last
    const directory: Directory = { page, tables: new Map(), attached: new Set() };
    this.#directories.set(requester, directory);
    return directory;
  }

  #tableOf(directory: Directory, pasid: number): Uint32Array {
    const index = Math.floor(pasid / PASIDS_A_TABLE);
    const known = directory.tables.get(index);
    if (known !== undefined) return known;
    const page = this.#frames.allocate();
    const words = this.#frames.words(page);
    writeEntry(this.#frames.words(directory.page + Math.floor(index / DIRECTORY_PAGE)), 2 * (index % DIRECTORY_PAGE), page, 1);
    directory.tables.set(index, words);
    return words;
  }

  #contextTable(requester: RequesterId): Uint32Array {
    const half = requester >>> 7;
    const known = this.#contexts[half];
    if (known !== undefined) return known;
    const page = this.#frames.allocate();
    writeEntry(this.#frames.words(this.rootTable), busOf(requester) * 4 + (half & 1) * 2, page, 1);
    return (this.#contexts[half] = this.#frames.words(page));
  }
}

/** Word of a requester's entry in its context table. */
const contextAt = (requester: RequesterId): number => (devfnOf(requester) & 0x7f) * CONTEXT_WORDS;
