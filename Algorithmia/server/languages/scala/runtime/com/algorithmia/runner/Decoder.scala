package com.algorithmia.runner

import java.lang.reflect.{Method, Modifier}

import com.google.gson.{JsonElement, JsonNull, JsonParseException}

import scala.collection.JavaConverters._
import scala.reflect.ClassTag
import scala.reflect.runtime.universe._

/** Reads JSON as the types that the author's source names: collections, options, tuples, case classes. */
private[runner] final class Decoder {
  private val mirror = runtimeMirror(getClass.getClassLoader)
  private var known = Map.empty[(Method, Int), Type]

  def read(data: JsonElement, method: Method, parameter: Int): Any = {
    val key = (method, parameter)
    if (!known.contains(key)) known += key -> parameterType(method, parameter)
    decode(data, known(key))
  }

  private def parameterType(method: Method, parameter: Int): Type = {
    val owner = method.getDeclaringClass
    val isStatic = Modifier.isStatic(method.getModifiers)
    val scope =
      if (isStatic) mirror.staticModule(owner.getName).moduleClass.asType.toType
      else mirror.classSymbol(owner).toType
    val wanted = method.getParameterTypes.toList
    val types = scope.member(TermName("apply")).alternatives
      .map(_.typeSignatureIn(scope).paramLists.flatten.map(_.typeSignature))
      .find(_.map(one => mirror.runtimeClass(one.erasure)) == wanted)
    types.map(_(parameter)).getOrElse(wrong(s"can't tell the types of ${method.getName} in ${owner.getName}"))
  }

  private def decode(data: JsonElement, asked: Type): Any = {
    val wanted = asked.dealias
    def item(index: Int) = wanted.baseType(wanted.typeSymbol).typeArgs(index)
    if (wanted =:= typeOf[Any] || wanted =:= typeOf[AnyRef]) Natural.read(data)
    else if (wanted <:< typeOf[Option[_]]) if (data.isJsonNull) None else Some(decode(data, item(0)))
    else if (wanted <:< typeOf[Array[_]]) array(data, item(0))
    else if (wanted <:< typeOf[scala.collection.Map[_, _]]) map(data, wanted)
    else if (wanted <:< typeOf[scala.collection.Iterable[_]]) collection(data, wanted, item(0))
    else if (wanted.typeSymbol.fullName.startsWith("scala.Tuple")) tuple(data, wanted)
    else if (wanted =:= typeOf[BigInt]) BigInt(data.getAsBigInteger)
    else if (wanted =:= typeOf[BigDecimal]) BigDecimal(data.getAsBigDecimal)
    else if (wanted.typeSymbol.isClass && wanted.typeSymbol.asClass.isCaseClass) caseClass(data, wanted)
    else {
      val kind = mirror.runtimeClass(wanted.erasure)
      if (kind.isPrimitive || kind == classOf[String]) checkKind(data, kind)
      Values.read(data, kind)
    }
  }

  // Gson reads 1 as "1" and null as 0: an item of the wrong kind is the caller's mistake.
  private def checkKind(data: JsonElement, kind: Class[_]): Unit = {
    val fits = data.isJsonPrimitive && {
      val value = data.getAsJsonPrimitive
      if (kind == classOf[String] || kind == classOf[Char]) value.isString
      else if (kind == classOf[Boolean]) value.isBoolean
      else value.isNumber
    }
    if (!fits) wrong(s"$data is no ${kind.getSimpleName}")
  }

  private def items(data: JsonElement): List[JsonElement] =
    if (data.isJsonArray) data.getAsJsonArray.iterator.asScala.toList else wrong(s"$data is no list")

  private def array(data: JsonElement, item: Type): Any = {
    val tag = ClassTag[Any](mirror.runtimeClass(item.erasure))
    items(data).map(decode(_, item)).toArray(tag)
  }

  private def map(data: JsonElement, wanted: Type): Any = {
    val arguments = wanted.baseType(typeOf[scala.collection.Map[_, _]].typeSymbol).typeArgs
    if (!(typeOf[String] <:< arguments(0))) wrong(s"$wanted can't be read: keys are Strings")
    if (!data.isJsonObject) wrong(s"$data is no object")
    val pairs = data.getAsJsonObject.entrySet.asScala.map(e => e.getKey -> decode(e.getValue, arguments(1))).toSeq
    if (typeOf[Map[String, Nothing]].erasure <:< wanted.erasure) pairs.toMap
    else if (wanted <:< typeOf[scala.collection.mutable.Map[_, _]]) scala.collection.mutable.LinkedHashMap(pairs: _*)
    else wrong(s"$wanted can't be read: take a Map")
  }

  private def collection(data: JsonElement, wanted: Type, item: Type): Any = {
    val found = items(data).map(decode(_, item))
    if (typeOf[List[Nothing]].erasure <:< wanted.erasure) found
    else if (typeOf[Vector[Nothing]].erasure <:< wanted.erasure) found.toVector
    else if (typeOf[Set[Nothing]].erasure <:< wanted.erasure) found.toSet
    else if (typeOf[scala.collection.mutable.ArrayBuffer[Nothing]].erasure <:< wanted.erasure)
      scala.collection.mutable.ArrayBuffer(found: _*)
    else wrong(s"$wanted can't be read: take a List")
  }

  private def tuple(data: JsonElement, wanted: Type): Any = {
    val types = wanted.typeArgs
    val found = items(data)
    if (found.length != types.length) wrong(s"$data has not ${types.length} items")
    val values = found.zip(types).map { case (value, one) => decode(value, one).asInstanceOf[AnyRef] }
    construct(wanted.typeSymbol.asClass, values)
  }

  private def caseClass(data: JsonElement, wanted: Type): Any = {
    if (!data.isJsonObject) wrong(s"$data is no object")
    val kind = wanted.typeSymbol.asClass
    if (!kind.isStatic) wrong(s"case class ${kind.name} belongs to an instance: move it out of the class around it")
    val fields = kind.primaryConstructor.typeSignatureIn(wanted).paramLists.flatten
    val values = fields.zipWithIndex.map { case (field, index) =>
      val name = field.name.decodedName.toString
      val value = data.getAsJsonObject.get(name)
      if (value != null) decode(value, field.typeSignature)
      else if (field.asTerm.isParamWithDefault) default(kind, index + 1)
      else if (field.typeSignature <:< typeOf[Option[_]]) None
      else wrong(s"the input has no field $name")
    }
    construct(kind, values.map(_.asInstanceOf[AnyRef]))
  }

  private def default(kind: ClassSymbol, position: Int): Any = {
    val companion = Class.forName(mirror.runtimeClass(kind).getName + "$")
    companion.getMethod("$lessinit$greater$default$" + position).invoke(companion.getField("MODULE$").get(null))
  }

  private def construct(kind: ClassSymbol, values: List[AnyRef]): Any = {
    val runtime = mirror.runtimeClass(kind)
    val constructor = runtime.getDeclaredConstructors.find(_.getParameterTypes.length == values.length).get
    constructor.setAccessible(true)
    try constructor.newInstance(values: _*)
    catch { case failure: java.lang.reflect.InvocationTargetException => wrong(failure.getCause.getMessage) }
  }

  private def wrong(message: String): Nothing = throw new JsonParseException(message)
}
