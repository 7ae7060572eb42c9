"""Runs one of PyPI's clients of Binance's API: ``python python_clients.py NAME``, a job (JSON) on standard input.

The job names the base URLs and the keys; each call with each of them is printed as a line of JSON. No imports of the
portal: python-binance and ccxt are in an environment of their own.
"""

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

Calls = dict[str, Callable[[], Any]]
SYMBOL, COIN, ADDRESS = "BTCUSDT", "BTC", "bc1q-address"
#: A client order id with characters that are encoded in a URL.
RESERVED = "a b+c/d=e&f"
ORDER = {
    "symbol": SYMBOL,
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "1",
    "price": "10.5",
}


def binance_connector(base: str, kind: str, key: dict[str, str]) -> Calls:
    from binance.spot import Spot

    secret = {"api_secret": key["secret"]} if kind == "hmac" else {"private_key": key["secret"].encode()}
    client = Spot(api_key=key["id"], base_url=base, timeout=20, **secret)
    return {
        "time": lambda: client.time()["serverTime"],
        "market": lambda: client.ticker_24hr(SYMBOL)["lastPrice"],
        "trades": lambda: client.historical_trades(SYMBOL)[0]["id"],
        "stream": lambda: client.new_listen_key()["listenKey"],
        "keepalive": lambda: client.renew_listen_key("k") == {} and "ok",
        "account": lambda: client.account()["accountType"],
        "order": lambda: client.new_order(**ORDER)["orderId"],
        "reserved": lambda: client.new_order(**ORDER, newClientOrderId=RESERVED)["orderId"],
        "cancel": lambda: client.cancel_order(SYMBOL, orderId=28)["orderId"],
        "withdraw": lambda: client.withdraw(coin=COIN, amount=1, address=ADDRESS)["id"],
    }


def python_binance(base: str, kind: str, key: dict[str, str]) -> Calls:
    from binance.client import Client

    Client.API_URL, Client.MARGIN_API_URL = f"{base}/api", f"{base}/sapi"
    secret = {"api_secret": key["secret"]} if kind == "hmac" else {"private_key": key["secret"]}
    client = Client(key["id"], **secret, requests_params={"timeout": 20})
    return {
        "time": lambda: client.get_server_time()["serverTime"],
        "market": lambda: client.get_ticker(symbol=SYMBOL)["lastPrice"],
        "trades": lambda: client.get_historical_trades(symbol=SYMBOL)[0]["id"],
        "stream": client.stream_get_listen_key,
        "keepalive": lambda: client.stream_keepalive("k") == {} and "ok",
        "account": lambda: client.get_account()["accountType"],
        "order": lambda: client.create_order(**ORDER)["orderId"],
        "reserved": lambda: client.create_order(**ORDER, newClientOrderId=RESERVED)["orderId"],
        "cancel": lambda: client.cancel_order(symbol=SYMBOL, orderId=28)["orderId"],
        "withdraw": lambda: client.withdraw(coin=COIN, amount=1, address=ADDRESS)["id"],
    }


def binance_sdk_spot(base: str, kind: str, key: dict[str, str]) -> Calls:
    from binance_common.configuration import ConfigurationRestAPI
    from binance_sdk_spot.spot import Spot

    secret = {"api_secret": key["secret"]} if kind == "hmac" else {"private_key": key["secret"]}
    setting = ConfigurationRestAPI(api_key=key["id"], base_path=base, timeout=20_000, retries=0, **secret)
    api = Spot(config_rest_api=setting).rest_api
    named = {("time_in_force" if name == "timeInForce" else name): value for name, value in ORDER.items()}
    order: dict[str, Any] = {**named, "quantity": 1.0, "price": 10.5}

    def price() -> Any:
        ticker = api.ticker24hr(symbol=SYMBOL).data()
        return getattr(ticker, "actual_instance", ticker).last_price

    return {
        "time": lambda: api.time().data().server_time,
        "market": price,
        "trades": lambda: api.historical_trades(SYMBOL).data()[0].id,
        "account": lambda: api.get_account().data().account_type,
        "order": lambda: api.new_order(**order).data().order_id,
        "reserved": lambda: api.new_order(**order, new_client_order_id=RESERVED).data().order_id,
        "cancel": lambda: api.delete_order(SYMBOL, order_id=28).data().order_id,
    }


def ccxt(base: str, kind: str, key: dict[str, str]) -> Calls:
    import ccxt as library

    client = library.binance({
        "apiKey": key["id"], "secret": key["secret"], "timeout": 20_000, "enableRateLimit": False,
        "options": {"fetchMarkets": {"types": ["spot"]}, "fetchMargins": False, "fetchCurrencies": False},
    })  # fmt: skip
    client.urls["api"] |= {"public": f"{base}/api/v3", "private": f"{base}/api/v3", "sapi": f"{base}/sapi/v1"}
    symbol, limit = "BTC/USDT", ("BTC/USDT", "limit", "buy", 1, 10.5)
    return {
        "time": client.fetch_time,
        "market": lambda: client.fetch_ticker(symbol)["info"]["lastPrice"],
        "trades": lambda: client.public_get_historicaltrades({"symbol": SYMBOL})[0]["id"],
        "stream": lambda: client.public_post_userdatastream()["listenKey"],
        "keepalive": lambda: client.public_put_userdatastream({"listenKey": "k"}) == {} and "ok",
        "account": lambda: client.fetch_balance()["info"]["accountType"],
        "order": lambda: client.create_order(*limit)["id"],
        "reserved": lambda: client.create_order(*limit, {"newClientOrderId": RESERVED})["id"],
        "cancel": lambda: client.cancel_order("28", symbol)["id"],
        "withdraw": lambda: client.withdraw(COIN, 1, ADDRESS)["id"],
    }


CLIENTS = {each.__name__: each for each in (binance_connector, python_binance, binance_sdk_spot, ccxt)}


def results(name: str, job: Any) -> Iterator[dict[str, str]]:
    """Make each call with each key through each proxy; the result, or how it failed."""
    for front, base in job["fronts"].items():
        for kind, key in job["keys"].items():
            calls = CLIENTS[name](base, kind, key)
            for call, run in calls.items():
                try:
                    outcome = {"value": str(run())}
                except Exception as error:
                    outcome = {"error": f"{type(error).__name__}: {error}"[:500]}
                yield {"front": front, "key": kind, "call": call, **outcome}


if __name__ == "__main__":
    for result in results(sys.argv[1], json.load(sys.stdin)):
        print(json.dumps(result), flush=True)
