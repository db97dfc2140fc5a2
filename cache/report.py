"""What a run with the cache did."""

from dataclasses import asdict, dataclass, field


@dataclass
class ContextReport:
    """One context: which steps were computed and which forecast, and how good the forecasts were.

    `computed`, `forecast`: steps in the order of the calls; look-ahead goes over forecast steps twice. `orders`: of the
    forecast ones. `errors`: (step, relative error) of the forecast that would have been used at each full step.
    `memory`: most bytes of cached tensors at once. `motion_computed`, `motion_forecast`: calls in which motion
    modules with an interval of their own were computed and forecast.
    """

    computed: list[int] = field(default_factory=list)
    forecast: list[int] = field(default_factory=list)
    orders: list[int] = field(default_factory=list)
    errors: list[tuple[int, float]] = field(default_factory=list)
    memory: int = 0
    motion_computed: int = 0
    motion_forecast: int = 0

    @property
    def final_errors(self) -> list[float]:
        """The errors at full steps that end a row of forecast steps: others are of forecasts that nobody needed."""
        forecast = set(self.forecast)
        return [error for step, error in self.errors if step - 1 in forecast]

    @property
    def interval(self) -> float:
        """Steps for each computed one, 1.0 where nothing was forecast."""
        return (len(self.computed) + len(self.forecast)) / max(1, len(self.computed))


@dataclass
class CacheReport:
    """Contexts of one or several runs, by name.

    `enabled`: False where there was no cache. `restarts`: times that what was kept was dropped, as it was of another
    run or shape. `inactive`: calls that the cache left alone (gradients on, no step).
    """

    enabled: bool = False
    placement: str = ""
    tolerance: float = 0.0
    runs: int = 0
    restarts: int = 0
    inactive: int = 0
    contexts: dict[str, ContextReport] = field(default_factory=dict)

    def context(self, name: str) -> ContextReport:
        return self.contexts.setdefault(name, ContextReport())

    @property
    def computed(self) -> int:
        """Steps computed in all contexts."""
        return sum(len(context.computed) for context in self.contexts.values())

    @property
    def forecast(self) -> int:
        return sum(len(context.forecast) for context in self.contexts.values())

    @property
    def memory(self) -> int:
        """Bytes of cached tensors, the most of each context added up."""
        return sum(context.memory for context in self.contexts.values())

    @property
    def worst_error(self) -> float:
        """The largest error that was measured at the end of a row of forecast steps; 0.0 where there was none."""
        return max((error for context in self.contexts.values() for error in context.final_errors), default=0.0)

    def merge(self, other: "CacheReport") -> "CacheReport":
        """This and another run's as one; memory is the larger of the two, since runs follow each other."""
        return merge_reports([self, other])

    def to_dict(self) -> dict:
        """Plain numbers for JSON."""
        return asdict(self) | {"computed": self.computed, "forecast": self.forecast, "worst_error": self.worst_error}

    def __str__(self) -> str:
        if not self.enabled:
            return "no cache"
        steps = self.computed + self.forecast
        text = f"{self.placement} cache: {self.computed} of {steps} steps computed, {self.forecast} forecast"
        if self.worst_error:
            text += f", largest measured error {self.worst_error:.2g}"
        return f"{text}, {self.memory / 2**20:.1f} MB kept"


def merge_reports(reports) -> CacheReport:
    """The reports of several runs as one; memory is the largest of them, since runs follow each other."""
    merged = CacheReport()
    for report in reports:
        merged = CacheReport(
            merged.enabled or report.enabled,
            report.placement or merged.placement,
            max(report.tolerance, merged.tolerance),
            merged.runs + report.runs,
            merged.restarts + report.restarts,
            merged.inactive + report.inactive,
            merged.contexts,
        )
        for name, context in report.contexts.items():
            own = merged.context(name)
            merged.contexts[name] = ContextReport(
                own.computed + context.computed,
                own.forecast + context.forecast,
                own.orders + context.orders,
                own.errors + context.errors,
                max(own.memory, context.memory),
                own.motion_computed + context.motion_computed,
                own.motion_forecast + context.motion_forecast,
            )
    return merged
