import type { Pfn } from "@iommu-lab/memory";

/**
 * The reverse map table (RMP) of SNP as an IOMMU asks it: whether devices may reach a page of memory. The table is the
 * processor's: who owns a page, software decides there. AMD-Vi §2.5.13, §2.5.14.
 * @returns "unreadable" where the page's entry in it cannot be read
 */
export type ReverseMap = (page: Pfn<"HPA">, write: boolean) => "allowed" | "denied" | "unreadable";
