"""A client for groups: ask for inferences, wait for them, fetch what they gave, add models.

    from mmcoord.client import Client

    with Client("https://mmcoord.example.org", token=os.environ["MMCOORD_TOKEN"]) as house:
        run = house.submit_pair("S230518h", "312345678901234567")
        print(house.wait(run.run_key).summary["p_kilonova"])

``AsyncClient`` has the same methods to be awaited. Nothing here needs the daemon's
dependencies beyond httpx, and numpy where draws are asked for.
"""

from mmcoord.client.answers import Model, Prediction, Run, Submitted
from mmcoord.client.asynchronous import AsyncClient
from mmcoord.client.blocking import Client

__all__ = ["AsyncClient", "Client", "Model", "Prediction", "Run", "Submitted"]
