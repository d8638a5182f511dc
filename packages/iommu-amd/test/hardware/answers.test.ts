import { Access, AddressType, Completion, MemoryType, type Translation } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import * as layouts from "../../src/layouts/index.ts";
import { guestRig, hostRig, PASID, RAM, Rig, type RequestOptions } from "./rig.ts";

const PAGE = 0x12_3456; // arbitrary
const HOST = 0x2_0000; // arbitrary
const ASK = { type: AddressType.TranslationRequest };
const TRANSLATED = { type: AddressType.Translated };
const READ_WRITE = Access.Read | Access.Write;
const ALL = READ_WRITE | Access.Execute;

/** What a request gets that is let through. */
const granted = (page: number, changes: Partial<Translation> = {}): Translation => ({ page, pageShift: 12, permissions: ALL, global: false, memoryType: MemoryType.WriteBack, snoop: false, fault: 0, recorded: false, completion: Completion.Successful, ...changes });
/** What one gets that is not. */
const refused = (fault: number, changes: Partial<Translation> = {}): Translation => ({ page: 0, pageShift: 12, permissions: 0, global: false, memoryType: MemoryType.Uncacheable, snoop: false, fault, recorded: true, completion: Completion.CompleterAbort, ...changes });

const mapped = (device: Record<string, number> = {}, leaf: Record<string, number> = {}): Rig => {
  const rig = hostRig({ device });
  rig.mapHost(rig.table, PAGE, HOST, { leaf });
  return rig;
};
const guest = (device: Record<string, number> = {}): Rig => {
  const rig = guestRig({ device });
  rig.mapGuest(rig.guest, PAGE, HOST);
  return rig;
};
const excluded = (): Rig => {
  const rig = hostRig({ device: { I: 1 } });
  rig.write(layouts.EXCL_LIMIT, { Limit: PAGE });
  rig.write(layouts.EXCL_BASE, { Base: PAGE, ExEn: 1, Allow: 1 });
  return rig;
};

describe("an answer says everything, whatever its record held before (AMD-Vi §2.1, §2.5)", () => {
  const cases: readonly (readonly [string, () => Rig, number, RequestOptions, Translation])[] = [
    ["IommuEn=0", () => new Rig({ control: { IommuEn: 0 } }), PAGE, {}, granted(PAGE)],
    ["IommuEn=0, a translation request", () => new Rig({ control: { IommuEn: 0 } }), PAGE, ASK, refused(0, { recorded: false, completion: Completion.UnsupportedRequest })],
    ["V=0", () => new Rig(), PAGE, {}, granted(PAGE)],
    ["V=0, a pretranslated request", () => new Rig(), PAGE, TRANSLATED, granted(PAGE)],
    ["I=0, a pretranslated request", () => mapped(), PAGE, TRANSLATED, refused(8)],
    ["a host page", () => mapped(), PAGE, {}, granted(HOST, { permissions: READ_WRITE })],
    ["a host page with FC", () => mapped({}, { FC: 1 }), PAGE, { access: Access.Write }, granted(HOST, { permissions: READ_WRITE, snoop: true })],
    ["a host page that may only be read", () => mapped({}, { IW: 0 }), PAGE, {}, granted(HOST, { permissions: Access.Read })],
    ["a host page that may not be written", () => mapped({}, { IW: 0 }), PAGE, { access: Access.Write }, refused(2)],
    ["a page that is not there", () => mapped(), PAGE + 1, {}, refused(2)],
    ["a page that is not there, and SA", () => mapped({ SA: 1 }), PAGE + 1, {}, refused(2, { recorded: false })],
    ["a page that is not there, a translation request", () => mapped({ I: 1 }), PAGE + 1, ASK, granted(PAGE + 1, { permissions: 0 })],
    ["a translation request", () => mapped({ I: 1, IW: 0 }, { FC: 1 }), PAGE, ASK, granted(HOST, { permissions: Access.Read, snoop: true })],
    ["a translation request without ATS", () => mapped(), PAGE, ASK, refused(8, { completion: Completion.UnsupportedRequest })],
    ["a pretranslated request", () => mapped({ I: 1, IW: 0 }), PAGE, TRANSLATED, granted(PAGE)],
    ["Mode 0", () => hostRig({ device: { Mode: 0 } }), PAGE, {}, granted(PAGE)],
    ["Mode 0 with Mode0FC", () => hostRig({ device: { Mode: 0, Mode0FC: 1, IW: 0 } }), PAGE, {}, granted(PAGE, { permissions: Access.Read | Access.Execute, snoop: true })],
    ["an illegal entry", () => hostRig({ device: { GV: 1, GLX: 3 } }), PAGE, {}, refused(1)],
    ["a table that is not there", () => hostRig({ device: { HostRoot: RAM / 4096 } }), PAGE, {}, refused(4)],
    ["the interrupt range", () => mapped(), 0xf_ee00, {}, refused(8)],
    ["the exclusion range", excluded, PAGE, { access: Access.Write }, granted(PAGE)],
    ["a guest's page", () => guest(), PAGE, { pasid: PASID }, granted(HOST)],
    ["a guest's page, for a supervisor", () => guest(), PAGE, { pasid: PASID, access: Access.Read | Access.Privileged }, granted(HOST)],
    ["a guest's page that is not there", () => guest(), PAGE + 1, { pasid: PASID }, refused(2)],
    ["a clean page of a guest, a translation request", () => guest({ I: 1 }), PAGE, { ...ASK, pasid: PASID }, granted(HOST, { permissions: Access.Read | Access.Execute })],
  ];
  test.each(cases)("%s", (_name, make, page, options, expected) => {
    const rig = make();
    // From the tables, from the cache, and once more after another device's request.
    for (let i = 0; i < 2; i++) expect(rig.translate(page, options)).toEqual(expected);
    rig.translate(page, { device: 0x0200 });
    expect(rig.translate(page, options)).toEqual(expected);
    rig.translate(page, { ...options, explain: [] });
    expect(rig.translate(page, { ...options, explain: [] })).toEqual(expected);
  });
});
