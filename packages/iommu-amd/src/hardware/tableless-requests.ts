import { Access, AddressType, Completion, NO_PASID, type ExplanationSink, type Translation, type TranslationRequest } from "@iommu-lab/pci-bus";
import { answer, passUntranslated, refuse } from "./answers.ts";
import { EntryFault, type DeviceEntry } from "./device-entry.ts";
import { explainRule } from "./explain.ts";
import type { PassedRanges } from "./passed-ranges.ts";
import type { RequestFaults } from "./request-faults.ts";
import { RequestType, specialAddress, SpecialAddress, TranslationType, TYPE_SHIFT } from "./special-addresses.ts";
import { WalkFault } from "./walk-fault.ts";

/** First page of the interrupt range, in units of its 256 pages. */
export const INTERRUPT_RANGE = 0xfee;

/** Requests that something else than a page table decides. */
export class TablelessRequests {
  untranslated = 0;
  pretranslated = 0;
  excluded = 0;
  readonly #faults: RequestFaults;
  readonly #ranges: PassedRanges;
  readonly #snp: boolean;
  readonly #pageLimit: number;

  /** @param snp SNP is active on the machine: DMA without translation is refused */
  constructor(faults: RequestFaults, ranges: PassedRanges, snp: boolean, physicalAddressWidth: number) {
    this.#faults = faults;
    this.#ranges = ranges;
    this.#snp = snp;
    this.#pageLimit = 2 ** (physicalAddressWidth - 12);
  }

  /** IommuEn = 0: DMA passes; nobody answers translation requests. */
  disabled(request: Readonly<TranslationRequest>, out: Translation, explain?: ExplanationSink): void {
    const answered = request.addressType === AddressType.Untranslated;
    if (explain !== undefined) explainRule(explain, "CONTROL", answered ? "With IommuEn=0 the address is the host-physical address" : "With IommuEn=0 there are no translations", "AMD-Vi §2.1", answered ? "untranslated" : "unsupported request");
    if (answered) passUntranslated(out, request.page);
    else refuse(out, Completion.UnsupportedRequest, 0, false);
  }

  /** V = 0, or an illegal entry. AMD-Vi §2.2.2, Table 8. */
  withoutEntry(request: Readonly<TranslationRequest>, out: Translation, entry: DeviceEntry, explain?: ExplanationSink): void {
    if (entry.valid) {
      const reserved = entry.dmaFault === EntryFault.Reserved;
      this.#faults.illegal(request, out, reserved, reserved ? "Reserved bits of a valid entry are 0" : "The levels of a valid entry are ones that the IOMMU has, and under SNP it has host tables", explain);
      return;
    }
    if (request.addressType === AddressType.TranslationRequest) {
      this.#faults.invalid(request, out, TranslationType.NotAllowed, "Translation requests need V=1 and I=1", explain);
      return;
    }
    if (this.#snp) {
      this.#faults.illegal(request, out, false, "Under SNP DMA needs a valid entry", explain);
      return;
    }
    this.untranslated++;
    if (explain !== undefined) explainRule(explain, "device table entry", "With V=0 DMA passes untranslated", "AMD-Vi §2.2.2, Table 8", "untranslated");
    passUntranslated(out, request.page);
  }

  /** A request whose address a device-TLB has translated. */
  translated(request: Readonly<TranslationRequest>, out: Translation, explain?: ExplanationSink): void {
    if (request.page >= this.#pageLimit || Math.floor(request.page / 256) === INTERRUPT_RANGE) {
      this.#faults.invalid(request, out, RequestType.Pretranslated, "A pretranslated address is one of memory", explain);
      return;
    }
    this.pretranslated++;
    if (explain !== undefined) explainRule(explain, "request", "A pretranslated request carries a host-physical address", "AMD-Vi §2.1", "translated");
    passUntranslated(out, request.page);
  }

  /** A request to the HyperTransport ranges; false when it is translated like any other. @param low its page number */
  special(request: Readonly<TranslationRequest>, out: Translation, entry: DeviceEntry, low: number, explain?: ExplanationSink): boolean {
    const verdict = specialAddress(low, entry.portIo, entry.systemManagement, (request.access & Access.Write) !== 0);
    if (verdict === SpecialAddress.Ordinary) return false;
    if (verdict === SpecialAddress.Illegal) this.#faults.illegal(request, out, true, "IoCtl = 3 is reserved", explain);
    else if (request.addressType === AddressType.TranslationRequest) this.#faults.invalid(request, out, TranslationType.InvalidAddress, "Special addresses are not translated for devices", explain);
    else if (verdict === SpecialAddress.Untranslated) {
      if (explain !== undefined) explainRule(explain, "device table entry", "SysMgt or IoCtl lets the special address pass", "AMD-Vi §2.2.2", "untranslated");
      passUntranslated(out, request.page);
    } else this.#faults.invalid(request, out, verdict >>> TYPE_SHIFT, "The special address is one that the device may use", explain);
    return true;
  }

  /** An address in the exclusion range; false for others. */
  passes(request: Readonly<TranslationRequest>, out: Translation, entry: DeviceEntry, explain?: ExplanationSink): boolean {
    if (!this.#ranges.excludes(request.page, entry.exclusion)) return false;
    this.excluded++;
    if (explain !== undefined) explainRule(explain, "exclusion range", "An address in the exclusion range passes untranslated, whatever its rights", "AMD-Vi §2.2.4", "untranslated");
    passUntranslated(out, request.page);
    return true;
  }

  /** MARC: an aperture takes the place of the page table; false for other addresses. Model: for requests that no guest table translates. */
  relocates(request: Readonly<TranslationRequest>, out: Translation, entry: DeviceEntry, access: Access, explain?: ExplanationSink): boolean {
    const aperture = this.#ranges.marcFor(request.page);
    if (aperture < 0) return false;
    const rights = this.#ranges.marcRights(aperture);
    if ((access & ~rights) !== 0 && request.addressType === AddressType.Untranslated) {
      this.#faults.page(request, out, entry, WalkFault.Permission, NO_PASID);
      return true;
    }
    if (explain !== undefined) explainRule(explain, "MARC aperture", "An address in an aperture is relocated", 'AMD-Vi §3.4 "MARC Aperture Registers"', "translated");
    out.page = this.#ranges.relocated(aperture, request.page);
    answer(out, 12, rights, entry.allowed, false);
    return true;
  }

  /** Mode 0: the address is the host-physical address, under IR and IW. AMD-Vi §2.2.2. */
  modeZero(request: Readonly<TranslationRequest>, out: Translation, entry: DeviceEntry, explain?: ExplanationSink): void {
    if (request.page >= this.#pageLimit) {
      if (explain !== undefined) explainRule(explain, "request", "An address that is not translated is below PAsize", "AMD-Vi §2.2.2", "IO_PAGE_FAULT, reserved bits");
      this.#faults.page(request, out, entry, WalkFault.Reserved, NO_PASID);
      return;
    }
    if (explain !== undefined) explainRule(explain, "device table entry", "Mode 0: the address is the host-physical address", "AMD-Vi §2.2.2", "untranslated");
    passUntranslated(out, request.page, entry.allowed, entry.forceCoherent);
  }
}
