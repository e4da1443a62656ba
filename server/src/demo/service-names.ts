export type ServiceName = 'orders' | 'stock' | 'wallet';

export const serviceNames: readonly ServiceName[] = ['orders', 'stock', 'wallet'];

/** A value for each service. */
export type ByService<T> = Readonly<Record<ServiceName, T>>;

export function byService<T>(valueOf: (service: ServiceName) => T): ByService<T> {
  return { orders: valueOf('orders'), stock: valueOf('stock'), wallet: valueOf('wallet') };
}
