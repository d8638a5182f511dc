import { Access } from "@iommu-lab/pci-bus";
import type { VNode } from "preact";
import { Table } from "../../ui/table.tsx";
import { hex } from "../entries/edits.ts";
import type { CacheLab } from "./lab.ts";
import type { CacheSay } from "./text.ts";

const SIZES: Readonly<Record<number, string>> = { 12: "4 KiB", 21: "2 MiB", 30: "1 GiB" };
const address = (page: number): VNode => <code>{hex(page * 4096)}</code>;
const rightsText = (rights: number): string => `${(rights & Access.Read) === 0 ? "–" : "R"}${(rights & Access.Write) === 0 ? "–" : "W"}`;
const deviceText = (requester: number): string => `${(requester >>> 8).toString(16).padStart(2, "0")}:${((requester >>> 3) & 31).toString(16).padStart(2, "0")}.${requester & 7}`;

/** What memory says, and what each cache says. */
export const CacheTables = ({ lab, say, selected, onAddress }: { readonly lab: CacheLab; readonly say: CacheSay; readonly selected: string | undefined; readonly onAddress: (address: string) => void }): VNode => {
  const { contents, hasPasidCache, memory, firstPage, deviceTlb, domain } = lab;
  const lit = (pages: readonly number[]): ReadonlySet<number> => new Set(pages.flatMap((page, i) => (hex(page * 4096) === selected ? [i] : [])));
  const agrees = (page: number, frame: number | undefined, of = domain): string => say(of === domain && memory[page - firstPage] === frame ? "yes" : "no");
  const bound = (of: number | undefined): string => say(of === domain ? "yes" : "no");
  const [sources, pasids] = [contents.sources.filter(({ pasid }) => pasid < 0), contents.sources.filter(({ pasid }) => pasid >= 0)];
  const orEmpty = (caption: string, count: number, table: () => VNode): VNode => (count === 0 ? <p><strong>{caption}</strong>: {say("empty")}</p> : table());
  const pages = memory.map((_, i) => firstPage + i);
  const pick = (list: readonly number[]) => (i: number): void => { const page = list[i]; if (page !== undefined) onAddress(hex(page * 4096)); };
  const [iotlb, device] = [contents.translations.map(({ page }) => page), deviceTlb.map(({ page }) => page)];
  return (
    <div class="cache-tables">
      <Table caption={`${say("memory")} (${say("domain")} ${domain})`} heads={[say("address"), say("frame")]} rows={memory.map((frame, i) => [address(firstPage + i), frame === undefined ? say("nothing") : address(frame)])} current={lit(pages)} onRow={pick(pages)} />
      {orEmpty(say("iotlb"), iotlb.length, () => <Table caption={say("iotlb")} heads={[say("address"), say("domain"), "PASID", say("size"), say("frame"), say("rights"), say("agrees")]} rows={contents.translations.map(({ page, domain: of, pasid, pageShift, hostPage, rights }) => [address(page), of, pasid < 0 ? "–" : pasid, SIZES[pageShift] ?? `2^${pageShift}`, rights === 0 ? say("nothing") : address(hostPage), rightsText(rights), agrees(page, rights === 0 ? undefined : hostPage, of)])} current={lit(iotlb)} onRow={pick(iotlb)} />)}
      {orEmpty(say("deviceTlb"), device.length, () => <Table caption={say("deviceTlb")} heads={[say("address"), say("frame"), say("rights"), say("agrees")]} rows={deviceTlb.map(({ page, hostPage, permissions }) => [address(page), address(hostPage), rightsText(permissions), agrees(page, hostPage)])} current={lit(device)} onRow={pick(device)} />)}
      {orEmpty(say("sources"), sources.length, () => <Table caption={say("sources")} heads={[say("requester"), say("domain"), say("agrees")]} rows={sources.map(({ requester, domain: of }) => [deviceText(requester), of ?? "–", of === undefined ? say("yes") : bound(of)])} />)}
      {hasPasidCache && orEmpty(say("pasids"), pasids.length, () => <Table caption={say("pasids")} heads={[say("requester"), "PASID", say("domain"), say("agrees")]} rows={pasids.map(({ requester, pasid, domain: of }) => [deviceText(requester), pasid, of, bound(of)])} />)}
      {orEmpty(say("tables"), contents.tables.length, () => <Table caption={say("tables")} heads={[say("level"), say("address"), say("domain"), say("table")]} rows={contents.tables.map(({ level, page, domain: of, table }) => [level, address(page), of, address(table)])} />)}
    </div>
  );
};
