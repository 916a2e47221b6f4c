// A card: one order as the page shows it, and the controls that change it.

const STATUSES = ['new', 'packed', 'shipped', 'delivered'];
const MOST = 99;

export class Card {
  #find;
  #order = null;

  /** `change` is called with the fields that the user changed. */
  constructor(id, change) {
    const element = document.getElementById('order').content.cloneNode(true).firstElementChild;
    this.element = element;
    this.#find = (selector) => element.querySelector(selector);
    element.dataset.id = id;
    this.#find('.topic').textContent = `orders/${id}`;
    this.#find('select').setAttribute('aria-label', `Status of orders/${id}`);
    this.#find('.quantity').setAttribute('aria-label', `Quantity of orders/${id}`);
    this.#find('.less').addEventListener('click', () => change({ quantity: this.#order.quantity - 1 }));
    this.#find('.more').addEventListener('click', () => change({ quantity: this.#order.quantity + 1 }));
    this.#find('select').addEventListener('change', (event) => change({ status: event.target.value }));
    this.#find('.advance').addEventListener('click', () => change({ status: next(this.#order.status) }));
    element.addEventListener('animationend', (event) => {
      if (event.target === element) {
        element.classList.remove('refreshed');
      }
    });
  }

  /** Shows `order`; `pending` while a change of it is not yet saved. */
  paint(order, pending) {
    this.#order = order;
    const { element } = this;
    element.classList.remove('loading');
    element.classList.toggle('pending', pending);
    element.dataset.status = order.status;
    element.dataset.version = order.version;
    this.#find('h3').textContent = order.item;
    this.#find('.customer').textContent = order.customer;
    this.#find('output').textContent = order.quantity;
    this.#find('.version').textContent = `v${order.version}`;
    this.#find('.less').disabled = order.quantity <= 1;
    this.#find('.more').disabled = order.quantity >= MOST;
    const select = this.#find('select');
    select.disabled = false;
    select.value = order.status;
    const advance = this.#find('.advance');
    const to = next(order.status);
    advance.disabled = !to;
    advance.setAttribute('aria-label', to ? `Advance orders/${order.id} to ${to}` : `orders/${order.id} is delivered`);
    advance.title = to ? `Advance to ${to}` : '';
  }

  /** Marks the order as just fetched again because of an event. */
  flash() {
    this.element.classList.remove('refreshed');
    void this.element.offsetWidth;
    this.element.classList.add('refreshed');
  }
}

function next(status) {
  return STATUSES[STATUSES.indexOf(status) + 1];
}
