/** The shop before its first order: who has how much money, and what lies in the stock. Drawn from a seed. */
import { between, createDice, pick, type Dice } from './dice.ts';

export interface World {
  readonly products: readonly Product[];
  readonly customers: readonly Customer[];
}

export interface Product {
  readonly sku: string;
  readonly name: string;
  readonly priceCents: number;
  /** Pieces in stock at the start. */
  readonly opening: number;
}

export interface Customer {
  readonly id: number;
  readonly name: string;
  readonly openingCents: number;
}

const assortment: readonly (readonly [sku: string, name: string, priceCents: number])[] = [
  ['BK-0141', 'Paperback novel, 384 pages', 12_90],
  ['BK-2207', 'Cook book, vegetarian', 29_95],
  ['CB-0200', 'USB-C cable, 2 m', 9_99],
  ['CB-1010', 'HDMI cable, 1 m', 7_49],
  ['CF-1000', 'Coffee beans, 1 kg', 18_50],
  ['CF-3300', 'Pour-over coffee maker', 34_00],
  ['EL-0812', 'Desk lamp, dimmable', 44_95],
  ['EL-4410', 'Wireless mouse', 24_99],
  ['EL-4470', 'Mechanical keyboard', 119_00],
  ['EL-9001', 'Noise cancelling headphones', 249_00],
  ['GD-0017', 'Garden gloves, size M', 8_25],
  ['GD-0552', 'Watering can, 5 l', 21_90],
  ['HM-0303', 'Cotton towel, 70 x 140 cm', 15_95],
  ['HM-0718', 'Frying pan, 28 cm', 39_90],
  ['HM-1200', 'Knife, 20 cm blade', 79_00],
  ['OF-0002', 'Notebook, A5, dotted', 5_95],
  ['OF-0090', 'Fountain pen', 49_50],
  ['OF-0777', 'Office chair', 329_00],
  ['SP-0042', 'Running socks, 3 pairs', 13_99],
  ['SP-1180', 'Yoga mat', 27_50],
  ['SP-6100', 'City bicycle, 7 gears', 649_00],
  ['TY-0005', 'Wooden train set', 36_75],
  ['TY-0310', 'Puzzle, 1000 pieces', 16_49],
  ['TY-2048', 'Board game for 2 to 4', 31_99],
];

const firstNames = [
  'Ada',
  'Bela',
  'Chidi',
  'Dora',
  'Emil',
  'Fatima',
  'Goran',
  'Hana',
  'Ines',
  'Jan',
  'Kofi',
  'Lea',
  'Mei',
  'Nils',
  'Olga',
  'Pia',
];
const lastNames = [
  'Akande',
  'Berg',
  'Costa',
  'Dubois',
  'Eriksen',
  'Fischer',
  'Garcia',
  'Horvat',
  'Ito',
  'Jansen',
  'Kaya',
  'Lopez',
  'Moreau',
  'Novak',
  'Okafor',
  'Petrov',
];

/** Enough goods and money that most of so many orders can be served, and that some cannot. */
export function createWorld(seed: number, orders: number): World {
  const dice = createDice(seed, 'world');
  // One and a half lines of two pieces each, on average.
  const piecesEach = Math.ceil((orders * 3) / assortment.length);
  const products = assortment.map(([sku, name, priceCents], at): Product => {
    return { sku, name, priceCents, opening: openingStock(dice, at, piecesEach) };
  });
  const count = Math.min(Math.max(Math.ceil(orders / 20), 40), 5_000);
  const spentEach = Math.ceil(orders / count) * 300_00;
  const customers = Array.from({ length: count }, (_, at): Customer => {
    const name = `${pick(dice, firstNames)} ${pick(dice, lastNames)}`;
    return { id: at + 1, name, openingCents: openingBalance(dice, at, spentEach) };
  });
  return { products, customers };
}

/** One product in twelve is sold out from the start, one in six will be. */
function openingStock(dice: Dice, at: number, piecesEach: number): number {
  if (at % 12 === 7) return 0;
  const factor = at % 6 === 3 ? 0.6 : 1.4 + dice();
  return Math.ceil(piecesEach * factor);
}

/** One customer in ten has no money, two in ten will run out of it. */
function openingBalance(dice: Dice, at: number, spentEach: number): number {
  if (at % 10 === 4) return between(dice, 0, 4_99);
  const factor = at % 5 === 1 ? 0.3 : 1 + dice();
  return Math.ceil(spentEach * factor);
}
